"""Feeds: nothing is missed in silence, whatever a stream and the way to it do."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from mpchat.broker.nats.feed import HELD, Feed
from mpchat.broker.nats.feeds import Feeds, OtherStream
from mpchat.ipc import records
from mpchat.jetstream.api import MOST_NAMES
from mpchat.jetstream.api import Api as RealApi
from mpchat.jetstream.configuration import epoch_of
from mpchat.jetstream.connection import Connection
from mpchat.jetstream.errors import Incomplete, NoReply
from mpchat.jetstream.subjects import token_of
from tests.unit.broker.nats.clock import until
from tests.unit.broker.nats.rig import Scene, scene
from tests.unit.broker.nats.stream import INTEREST, LATENCY, UNANSWERED, Api, Line

NEVER, TWICE = (), (0.0, 0.0)
AT_ONCE = (0.0,)


class Audience:
    """Feeds, and what they tell."""

    def __init__(self, scene: Scene) -> None:
        loop = asyncio.get_running_loop()
        stream = scene.stream
        self.heard: list[tuple[bytes, bytes]] = []
        self.lost: list[bytes] = []
        self.marks: list[tuple[int, int]] = []
        self.failures: list[BaseException | None] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.line = Line(stream, self._on_up, lambda why: None)
        self.api = Api(self.line, stream)
        self.feeds = Feeds(
            cast(RealApi, self.api),
            cast(Connection, self.line),
            stream.options,
            epoch_of(self.api._info()),
            self,
            self.spawn,
            loop.time,
        )

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_up(self) -> None:
        self.spawn(self.feeds.came_back())

    def deliver(self, feed: Feed, record: bytes, *, closed: bool) -> None:
        self.heard.append((feed.name, records.parse(record).payload))

    def lose_feed(self, feed: Feed) -> None:
        self.lost.append(feed.name)

    def mark(self, offset: int, at: int) -> None:
        self.marks.append((offset, at))

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _room, payload in self.heard]

    async def open(self, name: bytes = b"a") -> Feed:
        feed = self.feeds.use(name)
        await self.feeds.opened(feed)
        feed.users -= 1
        return feed

    async def idle(self, feed: Feed) -> None:
        await asyncio.sleep(3 * LATENCY)
        await until(lambda: not feed.is_busy)


# Opening


@scene
async def test_nothing_is_missed_between_subscription_and_position(scene: Scene) -> None:
    """Without the barrier the leader would not know of the subscription yet."""
    audience = Audience(scene)
    before = scene.store(b"a", b"before")
    opening = asyncio.create_task(audience.open())
    said: list[bytes] = []
    while not opening.done():
        said.append(b"%d" % len(said))
        scene.store(b"a", said[-1])
        await asyncio.sleep(LATENCY / 3)
    feed = opening.result()
    last, count = feed.last, len(audience.heard)
    scene.store(b"a", b"end")
    await until(lambda: b"end" in audience.payloads)
    told = scene.stream.all(feed.token)
    after = [one.data[4:] for one in told if one.seq > last]
    assert audience.payloads[count:] == after
    assert last > before
    assert len(said) > 10
    assert audience.feeds.filled == 0, "all came live"


@scene
async def test_a_feed_without_a_barrier_is_not_open(scene: Scene) -> None:
    audience = Audience(scene)
    audience.api.fates("barrier", NoReply("no"), Incomplete("no"))
    held = audience.api.hold("barrier")
    opening = asyncio.create_task(audience.open())
    await asyncio.sleep(1.0)
    assert not opening.done()
    held.set()
    feed = await opening
    assert feed.is_open
    assert audience.api.asked["barrier"] == 3


@scene
async def test_many_feeds_open_with_one_barrier(scene: Scene) -> None:
    audience = Audience(scene)
    names = [b"%d" % number for number in range(50)]
    for name in names:
        scene.store(name, name)
    feeds = await asyncio.gather(*map(audience.open, names))
    assert [feed.last for feed in feeds] == list(range(1, 51))
    assert audience.api.asked["barrier"] <= 2
    assert audience.line.subjects == [scene.stream.options.subjects.live(f.token) for f in feeds]


@scene
async def test_a_feed_that_is_used_by_two_is_one(scene: Scene) -> None:
    audience = Audience(scene)
    first, second = audience.feeds.use(b"a"), audience.feeds.use(b"a")
    assert first is second
    assert first.users == 2
    await asyncio.gather(audience.feeds.opened(first), audience.feeds.opened(second))
    assert len(audience.line.subjects) == 1


@scene
async def test_a_feed_begins_behind_what_any_server_has(scene: Scene) -> None:
    """A server that lags is not believed: its newest message is not the newest."""
    audience = Audience(scene)
    scene.store(b"a", b"1")
    scene.store(b"a", b"2")
    audience.line.has = 1
    opening = asyncio.create_task(audience.open())
    await asyncio.sleep(1.0)
    assert not opening.done()
    audience.line.has = 2
    feed = await opening
    assert (feed.seen, feed.last) == (2, 2)
    assert audience.feeds.failing_since is None, "to lag is no failure"


@scene
async def test_what_is_marked_is_behind_every_feed_that_opens(scene: Scene) -> None:
    """Trap: it opened with an older answer than that of the mark, and a message between was lost."""
    audience = Audience(scene)
    await audience.open(b"other")
    scene.store(b"other", b"1")
    held = audience.api.hold("changed")
    opening = asyncio.create_task(audience.open(b"a"))
    await asyncio.sleep(0.1)
    del audience.api._held["changed"]
    audience.line.fates(NEVER)
    scene.store(b"a", b"lost")
    scene.store(b"other", b"2")
    await audience.feeds.check()
    assert audience.marks[-1][0] == 3
    held.set()
    feed = await opening
    assert feed.seen >= 3 or feed.is_busy
    scene.store(b"a", b"live")
    await until(lambda: b"live" in audience.payloads)
    assert feed.seen >= 3


# Live


@scene
async def test_a_gap_is_filled_before_anything_newer_is_told(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    audience.line.fates(AT_ONCE, NEVER, NEVER)
    for number in range(5):
        scene.store(b"a", b"%d" % number)
    await audience.idle(feed)
    assert audience.payloads == [b"0", b"1", b"2", b"3", b"4"]
    assert audience.feeds.filled == 2


@scene
async def test_each_of_several_gaps_is_filled_once(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    audience.line.fates(*(AT_ONCE if number % 3 else NEVER for number in range(30)))
    for number in range(30):
        scene.store(b"a", b"%d" % number)
    await audience.idle(feed)
    await until(lambda: len(audience.payloads) == 30)
    assert audience.payloads == [b"%d" % number for number in range(30)]
    assert audience.feeds.filled == 10


@scene
async def test_what_comes_again_is_told_once(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    audience.line.fates(TWICE, AT_ONCE, (0.0, 0.5), (0.3,), AT_ONCE)
    for number in range(5):
        scene.store(b"a", b"%d" % number)
    await asyncio.sleep(1.0)
    await audience.idle(feed)
    assert audience.payloads == [b"%d" % number for number in range(5)]
    assert audience.feeds.replayed == 3


@scene
async def test_a_room_that_was_empty_when_a_message_came_has_lost_nothing(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    scene.store(b"a", b"1")
    await audience.idle(feed)
    scene.stream.expire()
    scene.store(b"a", b"2")
    scene.stream.expire(1)
    scene.store(b"a", b"3")
    await audience.idle(feed)
    assert audience.payloads == [b"1", b"2", b"3"]
    assert audience.lost == []


@scene
async def test_messages_that_expired_unseen_are_lost_and_told_so(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    scene.store(b"a", b"1")
    await audience.idle(feed)
    audience.line.fates(NEVER)
    scene.store(b"a", b"lost")
    scene.stream.expire()
    scene.store(b"a", b"3")
    await audience.idle(feed)
    assert audience.lost == [b"a"]
    assert audience.payloads == [b"1", b"3"]


@scene
async def test_a_gap_that_has_expired_in_part_is_lost(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    scene.store(b"a", b"1")
    await audience.idle(feed)
    audience.line.fates(NEVER, NEVER, NEVER)
    for number in (2, 3, 4, 5):
        scene.store(b"a", b"%d" % number)
    scene.stream.expire(2)
    await audience.idle(feed)
    assert audience.lost == [b"a"]
    assert audience.payloads == [b"1", b"3", b"4", b"5"]


@scene
async def test_more_than_is_held_is_found_again(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    held = audience.api.hold("info")
    audience.line.fates(AT_ONCE, NEVER)
    size = HELD // 10
    for number in range(30):
        scene.store(b"a", b"%d" % number + bytes(size))
    await asyncio.sleep(0.1)
    assert feed.is_busy
    assert feed.held_bytes <= HELD
    held.set()
    await audience.idle(feed)
    await audience.feeds.check()
    assert [payload[:-size] for payload in audience.payloads] == [b"%d" % n for n in range(30)]


@scene
async def test_one_that_is_larger_than_all_that_is_held_is_told(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    for number in range(3):
        audience.line.fates(NEVER)
        scene.store(b"a", b"lost")
        scene.store(b"a", b"%d" % number + bytes(HELD))
        await audience.idle(feed)
        await audience.feeds.check()
    assert len(audience.payloads) == 6


@scene
async def test_a_server_that_lags_behind_its_own_live_messages_is_asked_again(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    audience.line.fates(NEVER)
    audience.line.has = 0
    scene.store(b"a", b"1")
    scene.store(b"a", b"2")
    await asyncio.sleep(0.02)
    assert audience.payloads == []
    await until(lambda: not feed.is_busy)
    assert audience.payloads == [b"1", b"2"], "the leader has them"


@scene
async def test_what_is_no_room_s_is_passed_over(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    scene.store(b"a", b"1")
    scene.stream.store(feed.token, b"hello, I am somebody else")
    scene.store(b"a", b"3")
    await audience.idle(feed)
    assert audience.payloads == [b"1", b"3"]
    assert audience.feeds.foreign == 1
    assert feed.last == 3
    audience.line.send(scene.stream.options.subjects.live(feed.token), b"not of the stream")
    await audience.idle(feed)
    assert audience.feeds.foreign == 2


@scene
async def test_a_feed_that_was_closed_while_it_fills_tells_nothing(scene: Scene) -> None:
    """Trap: the room's next feed tells the same."""
    audience = Audience(scene)
    feed = await audience.open()
    held = audience.api.hold("batch")
    audience.line.fates(NEVER)
    scene.store(b"a", b"1")
    scene.store(b"a", b"2")
    await asyncio.sleep(0.1)
    assert feed.is_busy
    audience.feeds.close(feed)
    again = await audience.open()
    assert again is not feed
    del audience.api._held["batch"]
    held.set()
    scene.store(b"a", b"3")
    await until(lambda: b"3" in audience.payloads)
    await audience.idle(again)
    assert audience.payloads == [b"3"]
    assert audience.lost == []
    assert len(audience.line.subjects) == 1


# Looking


@scene
async def test_a_quiet_room_s_last_message_is_found_by_the_check(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    audience.line.fates(NEVER, NEVER)
    scene.store(b"a", b"1")
    last = scene.store(b"a", b"2")
    await audience.idle(feed)
    assert audience.payloads == []
    await audience.feeds.check()
    assert audience.payloads == [b"1", b"2"]
    stored = scene.stream.get(last)
    assert stored is not None
    assert audience.marks == [(last, stored.at_ms)]
    await audience.feeds.check()
    assert audience.payloads == [b"1", b"2"]


@scene
async def test_a_check_finds_what_expired_unseen(scene: Scene) -> None:
    """Trap: nothing of the room is left in the stream that would show it."""
    for others in (0, 1):
        audience = Audience(scene)
        feed = await audience.open()
        await audience.open(b"quiet")
        scene.store(b"a", b"1")
        await audience.idle(feed)
        audience.line.fates(NEVER)
        scene.store(b"a", b"lost")
        scene.stream.expire()
        for _ in range(others):
            scene.store(b"other", b"this one is there")
        await audience.feeds.check()
        assert b"a" in audience.lost
        assert audience.payloads == [b"1"]
        await audience.feeds.check()
        assert audience.lost.count(b"a") == 1
        audience.line.end()


@scene
async def test_after_a_loss_the_newest_message_is_not_known(scene: Scene) -> None:
    """Trap: the last one that was seen is taken for the newest, and who stands there misses nothing."""
    audience = Audience(scene)
    feed = await audience.open()
    scene.store(b"a", b"1")
    await audience.idle(feed)
    assert feed.position[0] == 1
    audience.line.fates(NEVER)
    scene.store(b"a", b"lost")
    scene.stream.expire()
    await audience.feeds.check()
    assert audience.lost == [b"a"]
    assert feed.position == (2, 0)
    scene.store(b"a", b"3")
    await audience.idle(feed)
    assert feed.position[0] == 3


@scene
async def test_a_gap_that_expires_while_it_is_read_ends_at_nothing_that_was_read(
    scene: Scene,
) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    scene.store(b"a", b"1")
    await audience.idle(feed)
    held = audience.api.hold("batch")
    audience.line.fates(NEVER, NEVER)
    scene.store(b"a", b"2")
    look = asyncio.create_task(audience.feeds.check())
    await until(lambda: audience.api.asked["batch"])
    await asyncio.sleep(0.1)
    scene.store(b"a", b"3")
    scene.stream.expire()
    held.set()
    await look
    assert audience.lost == [b"a"]
    assert audience.payloads == [b"1"]
    assert feed.position == (3, 0)


@scene
async def test_a_check_finds_what_expires_while_it_looks(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    scene.store(b"a", b"1")
    await audience.idle(feed)
    audience.line.fates(NEVER)
    lost = scene.store(b"a", b"lost")
    last = scene.store(b"other", b"x")
    held = audience.api.hold("message")
    check = asyncio.create_task(audience.feeds.check())
    await asyncio.sleep(0.1)
    scene.stream.expire(lost)
    held.set()
    await check
    assert audience.lost == [b"a"]
    assert feed.position == (last, 0)


@scene
async def test_what_expires_after_it_was_seen_is_not_lost(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    for number in range(5):
        scene.store(b"a", b"%d" % number)
        scene.store(b"other", b"x")
        await audience.idle(feed)
        await audience.feeds.check()
        scene.stream.expire()
        await audience.feeds.check()
    assert audience.lost == []
    assert len(audience.payloads) == 5


@scene
async def test_a_mark_is_only_given_when_all_feeds_are_there(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    await audience.open(b"b")
    held = audience.api.hold("batch")
    audience.line.fates(NEVER)
    scene.store(b"a", b"1")
    scene.store(b"a", b"2")
    scene.store(b"b", b"3")
    await asyncio.sleep(0.1)
    assert feed.is_busy
    await audience.feeds.check()
    assert audience.marks == []
    held.set()
    del audience.api._held["batch"]
    await audience.idle(feed)
    await audience.feeds.check()
    assert [offset for offset, _at in audience.marks] == [3]
    assert audience.payloads == [b"3", b"1", b"2"]


@scene
async def test_marks_never_fall(scene: Scene) -> None:
    audience = Audience(scene)
    await audience.open()
    scene.store(b"a", b"1")
    held = audience.api.hold("changed")
    slow = asyncio.create_task(audience.feeds.check())
    await asyncio.sleep(0.1)
    del audience.api._held["changed"]
    scene.store(b"a", b"2")
    await audience.feeds.check()
    held.set()
    await slow
    assert [offset for offset, _at in audience.marks] == [2]


@scene
async def test_a_lag_is_never_believed(scene: Scene) -> None:
    audience = Audience(scene)
    await audience.open()
    scene.store(b"a", b"1")
    await audience.feeds.check()
    audience.line.fates(NEVER)
    audience.line.has = 1
    scene.store(b"a", b"2")
    checking = asyncio.create_task(audience.feeds.check())
    await asyncio.sleep(3.0)
    assert not checking.done()
    assert [offset for offset, _at in audience.marks] == [1]
    assert audience.line.left == []
    audience.line.has = None
    await checking
    assert audience.payloads == [b"1", b"2"]


@scene
async def test_rooms_without_messages_are_no_lag(scene: Scene) -> None:
    """Trap: about so many of them the stream does not say how far its answer goes."""
    audience = Audience(scene)
    names = [b"%06d" % number for number in range(MOST_NAMES + 10)]
    feeds = await asyncio.wait_for(asyncio.gather(*map(audience.open, names)), 1.0)
    scene.store(names[0], b"1")
    await asyncio.wait_for(audience.feeds.check(), 1.0)
    assert audience.marks[-1][0] == 1
    assert await asyncio.wait_for(audience.open(b"late"), 1.0)
    assert all(feed.seen == 1 for feed in feeds)


@scene
async def test_a_host_without_rooms_still_looks_at_its_stream(scene: Scene) -> None:
    audience = Audience(scene)
    await audience.feeds.check()
    scene.stream.created = "2027-01-01T00:00:00Z"
    with pytest.raises(OtherStream, match="anew"):
        await audience.feeds.check()


@pytest.mark.parametrize("opened", [False, True])
@scene
async def test_a_stream_that_is_another_one_ends_the_broker(scene: Scene, opened: bool) -> None:
    audience = Audience(scene)
    if opened:
        await audience.open()
    await audience.feeds.check()
    scene.stream.metadata["mpchat.epoch"] = "2"
    with pytest.raises(OtherStream, match="anew"):
        await audience.feeds.check()


@pytest.mark.parametrize("opened", [False, True])
@scene
async def test_a_stream_that_went_back_ends_the_broker(scene: Scene, opened: bool) -> None:
    audience = Audience(scene)
    if opened:
        await audience.open()
    for number in range(5):
        scene.store(b"a", b"%d" % number)
    await audience.feeds.check()
    scene.stream.go_back(2)
    scene.store(b"a", b"another one")
    with pytest.raises(OtherStream, match="gone back from 5 to 3"):
        await audience.feeds.check()


@scene
async def test_a_stream_that_went_back_behind_what_came_live_ends_the_broker(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    await audience.feeds.check()
    for number in range(5):
        scene.store(b"a", b"%d" % number)
    await audience.idle(feed)
    scene.stream.go_back(3)
    with pytest.raises(OtherStream, match="gone back from 5 to 3"):
        await audience.feeds.check()


@scene
async def test_answers_that_pass_each_other_are_no_stream_that_went_back(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    held = audience.api.hold("info")
    slow = asyncio.create_task(audience.feeds.check())
    await asyncio.sleep(0.1)
    del audience.api._held["info"]
    scene.store(b"a", b"1")
    await audience.idle(feed)
    await audience.feeds.check()
    held.set()
    await slow
    assert audience.payloads == [b"1"]


# Faults of the way


@scene
async def test_a_server_that_is_cut_off_is_left(scene: Scene) -> None:
    audience = Audience(scene)
    await audience.open()
    audience.line.cut_off()
    scene.store(b"a", b"1")
    started = asyncio.get_running_loop().time()
    await audience.feeds.check()
    assert audience.payloads == [b"1"]
    assert len(audience.line.left) == 1
    assert "leader" in audience.line.left[0]
    assert 5.0 < asyncio.get_running_loop().time() - started < 7.0


@scene
async def test_without_a_leader_everybody_waits_and_says_so(scene: Scene) -> None:
    audience = Audience(scene)
    await audience.open()
    scene.stream.has_leader = False
    checking = asyncio.create_task(audience.feeds.check())
    await until(lambda: audience.feeds.failing_since is not None)
    opening = asyncio.create_task(audience.open(b"b"))
    await asyncio.sleep(1.0)
    assert not checking.done()
    assert not opening.done()
    scene.stream.has_leader = True
    await checking
    await opening
    assert audience.feeds.failing_since is None


@scene
async def test_while_the_connection_is_down_no_server_is_left(scene: Scene) -> None:
    audience = Audience(scene)
    await audience.open()
    audience.line.lose(20.0)
    await audience.feeds.check()
    assert audience.line.left == []


@scene
async def test_what_was_missed_while_the_connection_was_down_is_told(scene: Scene) -> None:
    audience = Audience(scene)
    await audience.open()
    await audience.open(b"b")
    scene.store(b"a", b"1")
    await until(lambda: audience.payloads == [b"1"])
    audience.line.lose(5.0)
    for number in (2, 3):
        scene.store(b"a", b"%d" % number)
    scene.store(b"b", b"quiet")
    await until(lambda: audience.line.is_up)
    scene.store(b"a", b"4")
    await asyncio.sleep(2 * INTEREST)
    await until(lambda: len(audience.payloads) == 5)
    assert [said for room, said in audience.heard if room == b"a"] == [b"1", b"2", b"3", b"4"]
    assert audience.lost == []


@scene
async def test_a_position_that_the_stream_has_is_waited_for(scene: Scene) -> None:
    """Trap: a feed that was busy passed for one that had seen it."""
    audience = Audience(scene)
    feed = await audience.open()
    assert not await audience.feeds.settled(feed, 1), "no stream has it"
    held = audience.api.hold("batch")
    audience.line.fates(NEVER)
    scene.store(b"a", b"1")
    scene.store(b"a", b"2")
    await asyncio.sleep(0.1)
    settling = asyncio.create_task(audience.feeds.settled(feed, 2))
    await asyncio.sleep(0.1)
    assert not settling.done()
    held.set()
    assert await settling
    assert audience.payloads == [b"1", b"2"]
    audience.line.fates(NEVER)
    last = scene.store(b"a", b"3")
    assert await audience.feeds.settled(feed, last)
    assert audience.payloads == [b"1", b"2", b"3"]
    assert await audience.feeds.settled(feed, 1)


@scene
async def test_questions_without_answers_are_asked_again(scene: Scene) -> None:
    audience = Audience(scene)
    for name in ("info", "message", "changed", "barrier"):
        audience.api.fates(name, UNANSWERED, Incomplete("a part"))
    scene.store(b"a", b"1")
    feed = await audience.open()
    assert feed.last == 1
    assert token_of(b"a") == feed.token


@scene
async def test_a_new_leader_that_is_not_ready_is_asked_again(scene: Scene) -> None:
    audience = Audience(scene)
    feed = await audience.open()
    scene.store(b"a", b"1")
    await audience.idle(feed)
    scene.stream.last_seq = 0
    checking = asyncio.create_task(audience.feeds.check())
    await asyncio.sleep(5 * LATENCY)
    scene.stream.last_seq = 1
    await checking
    assert audience.marks[-1][0] == 1


@scene
async def test_a_stream_that_somebody_changes_is_told_to_operators(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    audience = Audience(scene)
    await audience.open()
    scene.stream.options = scene.stream.options.model_copy(update={"max_bytes": 5})
    await audience.feeds.check()
    assert not caplog.records
    await asyncio.sleep(10.0)
    await audience.feeds.check()
    await audience.feeds.check()
    assert [record.getMessage() for record in caplog.records] == [
        "the stream ROOMS was changed: max_bytes: the stream has 5, the options say 1073741824"
    ]
