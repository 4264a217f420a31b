"""What a live message tells about those before it, and how messages wait."""

from __future__ import annotations

import pytest

from mpchat.broker.nats.feed import HELD, Feed, Verdict
from mpchat.jetstream.messages import Live, Stored


def live(seq: int, prev: int, data: bytes = b"") -> Live:
    return Live("YQ", seq, 7, data, prev)


@pytest.mark.parametrize(
    ("seen", "seq", "prev", "verdict"),
    [
        (4, 5, 4, Verdict.NEXT),
        (4, 9, 4, Verdict.NEXT),
        # All was seen up to 7 of other rooms.
        (7, 9, 4, Verdict.NEXT),
        # A new leader sends some again.
        (4, 4, 3, Verdict.SEEN),
        (4, 2, 0, Verdict.SEEN),
        (4, 4, 0, Verdict.SEEN),
        (4, 9, 5, Verdict.GAP),
        (0, 9, 5, Verdict.GAP),
        # Somebody has deleted messages.
        (4, 9, 3, Verdict.NEXT),
        # The first of a room, or all before it were dropped.
        (0, 1, 0, Verdict.ALONE),
        (4, 9, 0, Verdict.ALONE),
        # A replay is one, also behind a gap.
        (9, 9, 12, Verdict.SEEN),
    ],
)
def test_what_a_message_tells(seen: int, seq: int, prev: int, verdict: Verdict) -> None:
    feed = Feed(b"a", "YQ")
    feed.seen = seen
    assert feed.judge(live(seq, prev)) is verdict


def test_messages_wait_in_their_order() -> None:
    feed = Feed(b"a", "YQ")
    for seq in (1, 2, 3):
        feed.hold(live(seq, seq - 1, b"xx"))
    assert feed.held_bytes == 6
    taken = [feed.release() for _ in range(4)]
    assert [one and one.seq for one in taken] == [1, 2, 3, None]
    assert feed.held_bytes == 0


def test_too_many_that_wait_are_forgotten_together() -> None:
    feed = Feed(b"a", "YQ")
    feed.hold(live(1, 0, bytes(HELD)))
    assert feed.held
    feed.hold(live(2, 1, b"x"))
    assert not feed.held
    assert feed.held_bytes == 0
    feed.hold(live(3, 2, b"x"))
    assert [one.seq for one in feed.held] == [3]


def test_a_position_is_the_newest_message_or_what_was_seen() -> None:
    feed = Feed(b"a", "YQ")
    feed.seen = 9
    assert feed.position == (9, 0)
    feed.stands_at(Stored("YQ", 12, 77, b""), closed=False)
    assert feed.position == (12, 77)
    assert feed.seen == 12
    feed.seen = 20
    assert feed.position == (12, 77)
    feed.stands_at(Stored("YQ", 21, 78, b""), closed=True)
    assert feed.position == (21, 0), "a closed room has no newest message"
