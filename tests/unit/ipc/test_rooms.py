"""Frames between worker and broker: what is packed is parsed, and nothing else is taken."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpchat.ipc import answering, asking
from mpchat.ipc import rooms as kinds
from mpchat.ipc.framing import HEAD_BYTES, Frames, MalformedFrame
from mpchat.ipc.rooms import Change, Listed, Reason, Since, Status
from tests.kit.acks import parse_ack

U32, U64 = (st.integers(0, 2**bits - 1) for bits in (32, 64))
ROOM = st.binary(min_size=1, max_size=128)
NAME, INFO, TEXT = st.binary(max_size=255), st.binary(max_size=64), st.binary(max_size=100)
EPOCH = st.text("abcXYZ019-_", min_size=16, max_size=16)
SINCE = st.none() | st.builds(Since, EPOCH, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
LISTED = st.builds(Listed, U64, U64, NAME, INFO)
NAMED = st.sampled_from([Change.JOINED, Change.LEFT])
FRAMES: st.SearchStrategy[Any] = st.one_of(
    st.builds(asking.Hello, U64, U64),
    st.builds(asking.Subscribe, U32, ROOM, U32, SINCE),
    st.builds(asking.History, U32, ROOM, U32, SINCE),
    st.builds(asking.Join, U32, ROOM, U64, SINCE, NAME, st.none() | INFO, st.booleans()),
    st.builds(asking.Leave, ROOM, U64, st.booleans()),
    st.builds(asking.Members, U32, ROOM),
    st.builds(asking.Unsubscribe, ROOM),
    st.builds(answering.Welcome, st.integers(0, 255), U32, EPOCH, U64, U64),
    st.builds(
        answering.Answer,
        st.sampled_from([kinds.JOINED, kinds.HISTORY_PAGE]),
        U32,
        st.integers(0, 255),
        st.sampled_from(Status),
        U64,
        U64,
        U64,
        TEXT,
    ),
    st.builds(answering.Presence, NAMED, ROOM, LISTED),
    st.builds(answering.Presence, st.sampled_from([Change.OFF, Change.ON]), ROOM, st.none()),
    st.builds(answering.MembersPage, U32, st.integers(0, 255), U32, st.lists(LISTED, max_size=3)),
)
PARSERS: list[Callable[[bytes], Any]] = [
    asking.Hello.parse,
    asking.Subscribe.parse,
    asking.History.parse,
    asking.Join.parse,
    asking.Leave.parse,
    asking.Members.parse,
    asking.Unsubscribe.parse,
    asking.parse_publish,
    answering.Welcome.parse,
    answering.Answer.parse,
    answering.Presence.parse,
    answering.MembersPage.parse,
    answering.parse_refused,
    answering.parse_mark,
]


@given(FRAMES)
def test_what_is_packed_is_parsed(frame: Any) -> None:
    packed = frame.pack()
    assert Frames().cut(packed) == [packed]
    assert type(frame).parse(packed) == frame


@given(
    U64, ROOM, TEXT, st.integers(0, 255), NAME, st.just(b"") | st.binary(min_size=16, max_size=16)
)
def test_a_publish_is_parsed(
    counter: int, room: bytes, payload: bytes, flags: int, user: bytes, key: bytes
) -> None:
    flags &= ~2
    packed = asking.pack_publish(counter, room, payload, flags=flags, user=user, key=key)
    assert Frames().cut(packed) == [packed]
    flags |= 2 if key else 0
    assert asking.parse_publish(packed) == (counter, flags, room, user, key, payload)


@given(U64, ROOM, U64, U64)
def test_small_frames_are_parsed(counter: int, room: bytes, offset: int, at: int) -> None:
    assert asking.parse_publish(asking.pack_close(counter, room)) == (
        counter,
        0,
        room,
        b"",
        b"",
        b"",
    )
    assert parse_ack(answering.pack_ack(8, counter, offset, at)) == (
        8,
        counter,
        offset,
        at,
    )
    for reason in Reason:
        assert answering.parse_refused(answering.pack_refused(reason, at)) == (reason, at)
    assert answering.parse_mark(answering.pack_mark(offset, 7)) == (offset, 7)
    assert answering.parse_mark(answering.pack_lost(offset)) == (offset, 0)


@given(st.sampled_from(PARSERS), st.integers(0, 255), st.binary(max_size=200))
def test_random_frames_are_parsed_or_malformed(
    parse: Callable[[bytes], Any], kind: int, body: bytes
) -> None:
    try:
        parse(struct.pack("<IB", HEAD_BYTES + len(body), kind) + body)
    except MalformedFrame as error:
        assert str(error)


@given(FRAMES, st.data())
@example(asking.Join(1, b"room", 2, None, b"user", b"info"), None)
def test_a_frame_with_a_byte_changed_or_cut_is_parsed_or_malformed(
    frame: Any, data: st.DataObject | None
) -> None:
    packed = frame.pack()
    if data is None:
        changed = [packed[:end] for end in range(HEAD_BYTES, len(packed))]
    else:
        at = data.draw(st.integers(HEAD_BYTES, max(HEAD_BYTES, len(packed) - 1)))
        byte = data.draw(st.integers(0, 255))
        changed = [packed[:at] + bytes([byte]) + packed[at + 1 :], packed[:at]]
    for one in changed:
        try:
            type(frame).parse(one)
        except MalformedFrame as error:
            assert str(error)


@pytest.mark.parametrize(
    "since", [Since("short", 1), Since("é" * 8, 1), Since("e" * 16, -1), Since("e" * 16, 1 << 63)]
)
def test_a_position_that_no_broker_gives_is_nobodys(since: Since) -> None:
    parsed = asking.Subscribe.parse(asking.Subscribe(1, b"a", 1, since).pack()).since
    assert parsed is not None
    assert parsed.epoch != since.epoch


def test_kinds_do_not_meet_those_of_records() -> None:
    numbers = [value for name, value in vars(kinds).items() if name in asking_and_answering()]
    assert min(numbers) >= 16
    assert len(set(numbers)) == len(numbers) == 18


def asking_and_answering() -> set[str]:
    return {
        "HELLO", "SUBSCRIBE", "JOIN", "LEAVE", "UNSUBSCRIBE", "PUBLISH", "CLOSE", "HISTORY", "MEMBERS",
        "WELCOME", "JOINED", "HISTORY_PAGE", "ACK", "REFUSED", "MARK", "LOST", "PRESENCE",
        "MEMBERS_PAGE",
    }  # fmt: skip
