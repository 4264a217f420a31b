"""What the stream has of a room, for those who come back and those who ask."""

from __future__ import annotations

import asyncio

import pytest

from mpchat.broker.nats.wire import pack_body
from mpchat.broker.reading import PAGE, Limits
from mpchat.ipc import answering, asking, records
from mpchat.ipc import rooms as kinds
from mpchat.ipc.framing import split_frames
from mpchat.ipc.records import CLOSED
from mpchat.ipc.rooms import MORE, RECOVERED, Since
from mpchat.jetstream.errors import ConnectionLost
from mpchat.jetstream.subjects import token_of
from tests.unit.broker.nats.clock import until
from tests.unit.broker.nats.rig import Host, Scene, added, said, scene
from tests.unit.broker.nats.stream import UNANSWERED

MIB = 1 << 20
HOUR = 3_600_000


def at(host: Host, offset: int) -> Since:
    stored = host.scene.stream.get(offset)
    assert stored is not None
    return Since(host.epoch, offset, stored.at_ms)


def store(scene: Scene, count: int, size: int = 0) -> list[int]:
    return [scene.store(b"a", b"%d" % number + bytes(size)) for number in range(count)]


@scene
async def test_a_position_is_good_while_the_stream_has_its_message(scene: Scene) -> None:
    host = scene.host()
    offsets = store(scene, 5)
    other = scene.store(b"other", b"x")
    mark = at(host, other)
    scene.store(b"a", b"5")
    position = at(host, offsets[1])
    for worker in (host.worker(1), scene.host().worker(2)):
        answer = await worker.join(b"a", since=position)
        assert answer.flags & RECOVERED
        assert answer.offset == position.offset
        assert said(answer) == [b"2", b"3", b"4", b"5"]
        assert said(await worker.join(b"a", 2, since=mark)) == [b"5"], "it is of another room"
        newest = at(host, scene.stream.last_seq)
        assert said(await worker.join(b"a", 3, since=newest)) == []
    scene.stream.expire(offsets[1])
    answer = await host.worker(3).join(b"a", since=position)
    assert not answer.flags & RECOVERED
    assert (answer.offset, answer.records) == (scene.stream.last_seq, b"")


@pytest.mark.parametrize("changed", [{"epoch": "x" * 16}, {"at": 1}, {"offset": 4}, {"offset": 99}])
@scene
async def test_a_position_that_the_stream_did_not_give_is_not_recovered(
    scene: Scene, changed: dict[str, object]
) -> None:
    host = scene.host()
    store(scene, 3)
    await asyncio.sleep(0.01)
    store(scene, 3)
    wrong = at(host, 2)._replace(**changed)  # type: ignore[arg-type]
    answer = await host.worker().join(b"a", since=wrong)
    assert not answer.flags & RECOVERED
    assert answer.records == b""


@scene
async def test_a_stream_that_went_back_has_another_message_there(scene: Scene) -> None:
    old = scene.host()
    store(scene, 5)
    position = at(old, 4)
    old.kill()
    scene.stream.go_back(2)
    await asyncio.sleep(1.0)
    store(scene, 5)
    host = scene.host()
    assert host.epoch == old.epoch
    answer = await host.worker().join(b"a", since=position)
    assert not answer.flags & RECOVERED


@scene
async def test_rooms_with_one_position_ask_about_it_once(scene: Scene) -> None:
    host = scene.host()
    store(scene, 2)
    worker = host.worker()
    names = [b"quiet-%d" % number for number in range(5)]
    for number, name in enumerate(names):
        await worker.join(name, number)
    before = host.api.asked["message"]
    position = at(host, 1)
    for number, name in enumerate(names, 10):
        worker.say(asking.Join(worker.number(), name, number, position).pack())
    found: list[bytes] = []
    await until(lambda: len(added(found, worker.take(kinds.JOINED))) == len(names))
    assert all(answering.Answer.parse(frame).flags & RECOVERED for frame in found)
    assert host.api.asked["message"] == before + 1


@scene
async def test_a_position_without_a_time_is_good_while_nothing_behind_it_is_gone(
    scene: Scene,
) -> None:
    host = scene.host()
    worker = host.worker()
    before = await worker.join(b"a")
    assert (before.offset, before.at) == (0, 0)
    store(scene, 3)
    await worker.receive(3)
    beginning = Since(host.epoch, 0)
    assert said(await worker.join(b"a", 2, since=beginning)) == [b"0", b"1", b"2"]
    scene.stream.expire(1)
    answer = await worker.join(b"a", 3, since=beginning)
    assert not answer.flags & RECOVERED
    assert said(await worker.join(b"a", 4, since=Since(host.epoch, 1))) == [b"1", b"2"]


@scene
async def test_the_beginning_is_no_position_once_what_came_then_is_gone(scene: Scene) -> None:
    """Trap: a room without messages stands at 0, as it did before its first one."""
    before = await scene.host().worker().join(b"a")
    store(scene, 2)
    scene.stream.expire()
    host = scene.host()
    worker = host.worker()
    await worker.join(b"a")
    answer = await worker.join(b"a", 2, since=Since(host.epoch, before.offset, before.at))
    assert not answer.flags & RECOVERED
    now = Since(host.epoch, answer.offset, answer.at)
    assert (await worker.join(b"a", 3, since=now)).flags & RECOVERED


@scene
async def test_the_last_position_seen_is_none_any_more_once_something_was_lost(
    scene: Scene,
) -> None:
    host = scene.host()
    worker = host.worker()
    await worker.join(b"a")
    (first,) = store(scene, 1)
    await worker.receive(1)
    last = at(host, first)
    host.line.fates(())
    store(scene, 1)
    scene.stream.expire()
    await worker.get(kinds.LOST)
    answer = await worker.subscribe(b"a", since=last)
    assert not answer.flags & RECOVERED
    assert (answer.offset, answer.at) == (first + 1, 0)


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        (Limits(3, MIB, HOUR), 3),
        (Limits(1000, 3 * 104, HOUR), 3),
        (Limits(1000, 3 * 104 - 1, HOUR), 2),
        (Limits(1000, MIB, 2500), 3),
        (Limits(0, MIB, HOUR), 0),
    ],
)
@scene
async def test_who_has_missed_more_than_a_history_has_is_not_recovered(
    scene: Scene, limits: Limits, most: int
) -> None:
    host = scene.host(history=limits)
    offsets = []
    for number in range(6):
        body = pack_body(1, 0, b"", b"%d" % number + bytes(99))
        offsets.append(scene.stream.store(token_of(b"a"), body).seq)
        await asyncio.sleep(1.0 if number < 5 else 0.0)
    worker = host.worker()
    await worker.join(b"a")
    for missed in range(6):
        answer = await worker.join(b"a", 9, since=at(host, offsets[5 - missed]))
        assert bool(answer.flags & RECOVERED) == (missed <= most), missed
        assert len(said(answer)) == (missed if missed <= most else 0)
    page = await worker.history(b"a")
    assert [text[:1] for text in said(page)] == [b"%d" % n for n in range(6 - most, 6)]


@scene
async def test_a_closed_room_begins_anew(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    first, second = store(scene, 2)
    before = at(host, second)
    closed = scene.stream.store(token_of(b"a"), pack_body(CLOSED, 0, b"", b"")).seq
    answer = await worker.join(b"a", since=before)
    assert not answer.flags & RECOVERED
    assert (answer.offset, answer.at) == (closed, 0)
    assert said(await worker.history(b"a")) == []
    scene.store(b"a", b"new")
    assert said(await worker.history(b"a")) == [b"new"]
    answer = await worker.join(b"a", 2, since=at(host, closed))
    assert answer.flags & RECOVERED
    assert said(answer) == [b"new"]
    assert not (await worker.join(b"a", 3, since=at(host, first))).flags & RECOVERED


@scene
async def test_a_long_history_comes_in_pages(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    first, *_ = store(scene, 8, PAGE // 3)
    answer = await worker.join(b"a", since=at(host, first))
    found = []
    pages = 0
    position = at(host, first)
    flags, content = answer.flags, answer.records
    while True:
        assert flags & RECOVERED
        page = split_frames(content)
        assert 0 < sum(map(len, page)) <= PAGE
        pages += 1
        found += [records.parse(frame).payload[:1] for frame in page]
        if not flags & MORE:
            break
        # A worker that reads on knows no time.
        position = Since(host.epoch, records.offset_of(page[-1]))
        more = await worker.history(b"a", since=position)
        flags, content = more.flags, more.records
    assert found == [b"1", b"2", b"3", b"4", b"5", b"6", b"7"]
    assert pages == 4


@scene
async def test_one_message_larger_than_a_page_is_a_page(scene: Scene) -> None:
    host = scene.host()
    first = scene.store(b"a", b"0")
    scene.store(b"a", bytes(PAGE + 1))
    scene.store(b"a", b"2")
    answer = await host.worker().join(b"a", since=at(host, first))
    assert answer.flags & MORE
    assert len(said(answer)) == 1


@scene
async def test_the_newest_messages_of_a_room(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    for number in range(20):
        scene.store(b"a", b"%d" % number)
        for _ in range(number % 4):
            scene.store(b"other", b"x")
    for limit in (1, 3, 20, 1000):
        answer = await worker.history(b"a", limit)
        assert said(answer) == [b"%d" % number for number in range(20)][-limit:]
        assert answer.flags == RECOVERED
        stored = scene.stream.all(token_of(b"a"))[-1]
        assert (answer.offset, answer.at) == (stored.seq, stored.at_ms)
    assert said(await worker.history(b"a", 0)) == []
    assert said(await worker.history(b"nobody")) == []


@scene
async def test_a_page_has_as_many_messages_as_asked_for(scene: Scene) -> None:
    host = scene.host()
    offsets = store(scene, 5)
    worker = host.worker()
    answer = await worker.history(b"a", 2, at(host, offsets[0]))
    assert answer.flags == RECOVERED | MORE
    assert answer.offset == offsets[0]
    assert said(answer) == [b"1", b"2"]
    answer = await worker.history(b"a", 2, at(host, offsets[2]))
    assert answer.flags == RECOVERED
    assert said(answer) == [b"3", b"4"]
    answer = await worker.history(b"a", 2, Since("x" * 16, offsets[2]))
    assert answer.flags == 0
    assert (answer.offset, answer.records) == (offsets[4], b"")


@scene
async def test_what_is_no_message_of_a_room_is_left_out(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    first = scene.store(b"a", b"0")
    scene.stream.store(token_of(b"a"), b"who is this?")
    scene.store(b"a", b"2")
    scene.stream.store(token_of(b"a"), b"and this?")
    assert said(await worker.join(b"a", since=at(host, first))) == [b"2"]
    assert said(await worker.history(b"a")) == [b"0", b"2"]


@pytest.mark.parametrize("held", ["message", "batch"])
@scene
async def test_what_comes_meanwhile_is_neither_doubled_nor_missing(scene: Scene, held: str) -> None:
    host = scene.host()
    worker = host.worker()
    await worker.join(b"a")
    offsets = store(scene, 4)
    await worker.receive(4)
    waiting = host.api.hold(held)
    worker.say(asking.Join(worker.number(), b"a", 2, at(host, offsets[0])).pack())
    await asyncio.sleep(0.1)
    # One of them is missed, so that the feed asks the stream while the history is read.
    host.line.fates((0.0,), (), (0.0,))
    for number in range(4, 8):
        scene.store(b"a", b"%d" % number)
    await asyncio.sleep(0.1)
    del host.api._held[held]
    waiting.set()
    answer = await worker.answer(kinds.JOINED)
    live = worker.payloads()
    await asyncio.sleep(0.1)
    after = worker.payloads()
    together = said(answer)
    assert together[:3] == [b"1", b"2", b"3"]
    assert [*live, *after] == [b"4", b"5", b"6", b"7"]
    assert together[3:] == live[: len(together) - 3]


@scene
async def test_what_is_lost_while_a_history_is_read_is_not_recovered(scene: Scene) -> None:
    """Trap: who is about to be told of the rest is not among those who are told of the loss."""
    host = scene.host()
    keeper, worker = host.worker(1), host.worker(2)
    await keeper.join(b"a")
    first, *_ = store(scene, 3)
    await keeper.receive(3)
    position = at(host, first)
    waiting = host.api.hold("batch")
    worker.say(asking.Subscribe(worker.number(), b"a", 1, position).pack())
    await asyncio.sleep(0.1)
    host.line.fates(())
    scene.store(b"a", b"lost")
    scene.stream.expire()
    scene.store(b"a", b"there")
    await until(lambda: keeper.take(kinds.LOST))
    waiting.set()
    answer = await worker.answer(kinds.JOINED)
    assert not answer.flags & RECOVERED


@pytest.mark.parametrize("has_time", [True, False])
@scene
async def test_what_expires_before_it_is_read_is_not_recovered(
    scene: Scene, has_time: bool
) -> None:
    """Trap: the position was good, and what is read of the rest has no hole either."""
    host = scene.host()
    worker = host.worker()
    await worker.join(b"a")
    first, second, _ = store(scene, 3)
    await worker.receive(3)
    position = at(host, first) if has_time else Since(host.epoch, first)
    waiting = host.api.hold("message" if has_time else "info")
    worker.say(asking.Join(worker.number(), b"a", 2, position).pack())
    await asyncio.sleep(0.1)
    assert not worker.take(kinds.JOINED)
    scene.stream.expire(second)
    waiting.set()
    answer = await worker.answer(kinds.JOINED)
    assert not answer.flags & RECOVERED
    assert answer.records == b""


@scene
async def test_a_history_is_read_through_faults(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    offsets = store(scene, 5)
    await worker.join(b"a")
    for name in ("message", "batch"):
        host.api.fates(name, UNANSWERED, ConnectionLost("gone"))
    host.api.fates("leader_last", ConnectionLost("gone"), UNANSWERED)
    assert len(said(await worker.join(b"a", 2, since=at(host, offsets[0])))) == 4
    assert len(said(await worker.history(b"a"))) == 5


@scene
async def test_a_server_that_lags_does_not_shorten_a_history(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    offsets = store(scene, 5)
    await worker.join(b"a")
    host.line.has = 2
    answer = await worker.join(b"a", 2, since=at(host, offsets[3]))
    assert said(answer) == [b"4"], "the leader has it"
    answer = await worker.join(b"a", 3, since=at(host, offsets[0]))
    assert said(answer) == [b"1", b"2", b"3", b"4"]
    assert answering.Answer.parse(answer.pack()) == answer
