"""What workers ask: in its order, within the limits, and with nothing left behind."""

from __future__ import annotations

import asyncio

import pytest

from mpchat.broker.nats.wire import pack_body
from mpchat.ipc import answering, asking, records
from mpchat.ipc import rooms as kinds
from mpchat.ipc.records import CLOSED
from mpchat.ipc.rooms import LISTS, RECOVERED, Change, Listed, Since, Status
from mpchat.jetstream.subjects import token_of
from tests.unit.broker.nats.clock import until
from tests.unit.broker.nats.rig import Host, Scene, said, scene
from tests.unit.broker.nats.stream import LATENCY

KIB = 1024


def end(scene: Scene, room: bytes = b"a") -> int:
    """Have somebody else close a room."""
    return scene.stream.store(token_of(room), pack_body(CLOSED, 0, b"", b"")).seq


def since(host: Host, offset: int) -> Since:
    stored = host.scene.stream.get(offset)
    return Since(host.epoch, offset, 0 if stored is None else stored.at_ms)


@scene
async def test_who_joins_gets_what_comes_later(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    last = scene.store(b"a", b"before")
    answer = await worker.join(b"a")
    stored = scene.stream.get(last)
    assert stored is not None
    assert answer == answering.Answer(
        kinds.JOINED, 1, RECOVERED | LISTS, Status.OK, last, stored.at_ms
    )
    scene.store(b"a", b"after")
    scene.store(b"b", b"not here")
    assert await worker.receive(1) == [b"after"]


@scene
async def test_who_joins_an_empty_room_stands_where_the_stream_does(scene: Scene) -> None:
    host = scene.host()
    scene.store(b"other", b"x")
    answer = await host.worker().join(b"a")
    assert (answer.offset, answer.at, answer.records) == (1, 0, b"")


@scene
async def test_questions_about_a_room_are_answered_in_their_order(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    first = scene.store(b"a", b"1")
    held = host.api.hold("info")
    worker.say(
        asking.Join(1, b"a", 1).pack(),
        asking.History(2, b"a", 10).pack(),
        asking.Join(3, b"a", 2, since(host, first)).pack(),
        asking.History(4, b"a", 10, since(host, first)).pack(),
        asking.Join(5, b"a", 3, None, b"", b"{}").pack(),
    )
    await asyncio.sleep(0.1)
    assert not worker.take(kinds.JOINED)
    held.set()
    answers: list[bytes] = []

    def all_are_there() -> bool:
        answers.extend(
            frame for frame in worker.hear() if frame[4] in {kinds.JOINED, kinds.HISTORY_PAGE}
        )
        worker.told.clear()
        return len(answers) == 5

    await until(all_are_there)
    assert [answering.Answer.parse(frame).number for frame in answers] == [1, 2, 3, 4, 5]
    assert (await worker.members(b"a")).total == 3


@scene
async def test_rooms_do_not_wait_for_each_other(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    await worker.join(b"a")
    held = host.api.hold("leader_last")
    worker.say(asking.History(100, b"a", 10).pack())
    answer = await worker.join(b"b", 2)
    assert answer.status is Status.OK
    held.set()


@scene
async def test_an_answer_is_a_place_in_the_records(scene: Scene) -> None:
    """What is delivered while the stream is asked is in the answer, or comes behind it, once."""
    host = scene.host()
    worker = host.worker()
    await worker.join(b"a")
    first = scene.store(b"a", b"before")
    scene.store(b"a", b"0")
    await worker.receive(2)
    asked = asking.Join(50, b"a", 2, since(host, first)).pack()
    for number in range(1, 4):
        scene.store(b"a", b"%d" % number)
    worker.say(asked)
    for number in range(4, 20):
        scene.store(b"a", b"%d" % number)
        await asyncio.sleep(LATENCY / 2)
    await asyncio.sleep(0.1)
    frames = worker.hear()
    place = next(at for at, frame in enumerate(frames) if frame[4] == kinds.JOINED)
    answer = answering.Answer.parse(frames[place])
    before = [records.parse(frame).payload for frame in frames[:place] if frame[4] < 16]
    after = [records.parse(frame).payload for frame in frames[place:] if frame[4] < 16]
    assert said(answer) == [b"0", *before]
    assert before + after == [b"%d" % number for number in range(1, 20)]
    assert len(before) > 3
    assert after


@scene
async def test_a_leave_ends_what_its_worker_is_sent(scene: Scene) -> None:
    host = scene.host()
    worker, other = host.worker(1), host.worker(2)
    await worker.join(b"a", 1)
    await worker.join(b"a", 2, info=b"{}")
    await other.join(b"a")
    worker.say(asking.Leave(b"a", 1, False).pack())
    scene.store(b"a", b"1")
    assert await worker.receive(1) == [b"1"]
    worker.say(asking.Leave(b"a", 2, True).pack())
    assert (await other.members(b"a")).total == 1
    scene.store(b"a", b"2")
    assert await other.receive(2) == [b"1", b"2"]
    assert worker.payloads() == []
    assert other.changes() == [Change.LEFT]


@scene
async def test_who_leaves_while_the_stream_is_asked_is_gone(scene: Scene) -> None:
    """Trap: members are told by SUBSCRIBE, which waits, and a LEAVE behind it does not."""
    host = scene.host()
    worker = host.worker()
    held = host.api.hold("info")
    worker.say(
        asking.Subscribe(1, b"a", 2, since(host, 0)).pack(),
        asking.Leave(b"a", 0, False).pack(),
    )
    await asyncio.sleep(0.1)
    assert host.broker.members.total == 1
    worker.say(asking.Leave(b"a", 0, False).pack())
    held.set()
    await until(lambda: not host.broker._feeds.found)
    assert host.broker.members.total == 0
    assert host.broker.members.rooms == {}


@scene
async def test_a_room_goes_on_at_its_position(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    first = scene.store(b"a", b"1")
    scene.store(b"a", b"2")
    worker.say(asking.Join(0, b"a", 9, None, b"ann", b"{}", announced=True).pack())
    answer = await worker.subscribe(b"a", 1, since(host, first))
    assert answer.status is Status.OK
    assert answer.flags & RECOVERED
    assert said(answer) == [b"2"]
    scene.store(b"a", b"3")
    assert await worker.receive(1) == [b"3"]
    page = await worker.members(b"a")
    assert (page.total, page.entries) == (2, [Listed(1, 9, b"ann", b"{}")])


@scene
async def test_a_room_that_was_closed_meanwhile_is_told_so(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    first = scene.store(b"a", b"1")
    end(scene)
    answer = await worker.subscribe(b"a", 2, since(host, first))
    assert answer.status is Status.CLOSED
    assert not answer.flags & RECOVERED
    assert host.broker.members.total == 0, "its worker has let them go"


@scene
async def test_a_room_that_is_closed_while_the_stream_is_asked_is_told_so(scene: Scene) -> None:
    """Trap: nobody was left to be answered, and the worker waited for ever."""
    for name in ("message", "batch"):
        host = scene.host()
        keeper, worker = host.worker(1), host.worker(2)
        await keeper.join(b"a")
        first = scene.store(b"a", b"1")
        await keeper.receive(1)
        scene.store(b"a", b"2")
        await keeper.receive(1)
        held = host.api.hold(name)
        worker.say(asking.Subscribe(worker.number(), b"a", 1, since(host, first)).pack())
        await asyncio.sleep(0.1)
        end(scene)
        await asyncio.sleep(0.1)
        del host.api._held[name]
        held.set()
        answer = await worker.answer(kinds.JOINED)
        assert answer.status is Status.CLOSED
        assert host.broker.members.total == 0
        host.kill()


@scene
async def test_who_joins_a_room_that_was_closed_begins_it_anew(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    first = scene.store(b"a", b"1")
    end(scene)
    answer = await worker.join(b"a", since=since(host, first))
    assert answer.status is Status.OK
    assert not answer.flags & RECOVERED
    scene.store(b"a", b"2")
    assert await worker.receive(1) == [b"2"]


@scene
async def test_the_limit_of_members_holds_for_those_that_wait_as_well(scene: Scene) -> None:
    host = scene.host(max_members=2)
    worker = host.worker()
    worker.say(*(asking.Join(number, b"a", number).pack() for number in range(1, 4)))
    found = map(answering.Answer.parse, await worker.get(kinds.JOINED, 3))
    statuses = {answer.number: answer.status for answer in found}
    assert statuses == {1: Status.OK, 2: Status.OK, 3: Status.TOO_MANY_MEMBERS}
    worker.say(asking.Leave(b"a", 1, False).pack())
    assert (await worker.join(b"a", 4)).status is Status.OK
    assert (await worker.join(b"a", 5)).status is Status.TOO_MANY_MEMBERS


@scene
async def test_members_of_other_hosts_are_not_within_the_limit(scene: Scene) -> None:
    near, far = scene.host(max_members=1).worker(), scene.host().worker()
    for member in range(3):
        await far.join(b"a", member)
    assert (await near.join(b"a")).status is Status.OK
    await asyncio.sleep(0.1)
    assert (await near.members(b"a")).total == 4
    near.say(asking.Leave(b"a", 1, False).pack())
    assert (await near.join(b"a")).status is Status.OK


@scene
async def test_the_limit_of_rooms_holds_for_those_that_open_as_well(scene: Scene) -> None:
    host = scene.host(max_rooms=2)
    worker = host.worker()
    worker.say(*(asking.Join(number, b"%d" % number, number).pack() for number in (1, 2, 3)))
    found = map(answering.Answer.parse, await worker.get(kinds.JOINED, 3))
    statuses = {answer.number: answer.status for answer in found}
    assert statuses == {1: Status.OK, 2: Status.OK, 3: Status.TOO_MANY_ROOMS}
    assert (await worker.join(b"1", 4)).status is Status.OK
    worker.say(asking.Leave(b"2", 2, False).pack())
    assert (await worker.join(b"3", 5)).status is Status.OK


@scene
async def test_a_pair_that_ends_meanwhile_leaves_nothing_behind(scene: Scene) -> None:
    host = scene.host(max_members=3)
    for name in ("barrier", "info", "message"):
        worker = host.worker()
        held = host.api.hold(name)
        worker.say(
            asking.Join(1, b"a", 1).pack(),
            asking.Join(2, b"a", 2, since(host, 0)).pack(),
            asking.Join(3, b"b", 3, None, b"", b"{}").pack(),
            asking.Subscribe(4, b"c", 2, since(host, 0)).pack(),
            asking.Join(5, b"d", 5, None, b"", b"{}", announced=True).pack(),
            asking.History(6, b"e", 10).pack(),
        )
        await asyncio.sleep(0.1)
        worker.die()
        del host.api._held[name]
        held.set()
        await until(lambda: not host.broker._feeds.found)
        await asyncio.sleep(0.1)
        assert host.broker.members.total == 0
        assert host.broker.members.rooms == {}
        assert not [one for one in host.line.subjects if not one.endswith(".host")]
        assert not host.broker._answers._last
    worker = host.worker()
    for member in range(3):
        assert (await worker.join(b"a", member)).status is Status.OK, "nobody counts any more"


@scene
async def test_a_room_that_nobody_is_in_has_no_feed(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    await worker.join(b"a")
    await worker.join(b"a", 2, info=b"{}")
    await worker.history(b"b")
    await asyncio.sleep(0.1)
    assert list(host.broker._feeds.found) == [b"a"]
    worker.say(asking.Leave(b"a", 1, False).pack())
    assert list(host.broker._feeds.found) == [b"a"]
    worker.say(asking.Unsubscribe(b"a").pack())
    await asyncio.sleep(0.1)
    assert not host.broker._feeds.found
    assert not [one for one in host.line.subjects if not one.endswith(".host")]


@scene
async def test_an_answer_does_not_overtake_records_that_are_dropped(scene: Scene) -> None:
    """Trap: the worker took its place for that of the room, whose members missed what was dropped."""
    host = scene.host(worker_backlog=4 * KIB)
    worker = host.worker()
    await worker.join(b"a")
    first = scene.store(b"a", b"1")
    await worker.receive(1)
    held = host.api.hold("info")
    worker.say(asking.Join(worker.number(), b"a", 2, Since(host.epoch, 0)).pack())
    await asyncio.sleep(0.1)
    worker.wire.is_stopped = True
    for number in range(5):
        scene.store(b"a", b"%d" % number + bytes(2 * KIB))
    await asyncio.sleep(0.1)
    assert worker.pair.behind is not None
    held.set()
    await asyncio.sleep(0.1)
    worker.wire.go_on()
    await asyncio.sleep(0.1)
    order = [frame[4] for frame in worker.hear() if frame[4] in {kinds.LOST, kinds.JOINED}]
    assert order == [kinds.LOST, kinds.JOINED]
    assert (await worker.members(b"a")).total == 2
    worker.told.clear()
    answer = await worker.subscribe(b"a", 2, since(host, first))
    assert [text[:1] for text in said(answer)] == [b"0", b"1", b"2", b"3", b"4"]


@scene
async def test_presence_switched_off(scene: Scene) -> None:
    host = scene.host(presence=False)
    worker, other = host.worker(1), host.worker(2)
    await other.join(b"a")
    assert not (await worker.join(b"a", 1, info=b"{}")).flags & LISTS
    page = await other.members(b"a")
    assert (page.flags, page.total, page.entries) == (0, 2, [])
    assert other.changes() == []
    worker.say(asking.Leave(b"a", 1, True).pack())
    assert (await other.members(b"a")).total == 1


@pytest.mark.parametrize(
    "frame",
    [
        b"\x05\x00\x00\x00\x2f",
        asking.Subscribe(1, b"a", 10_001).pack(),
        asking.Join(1, b"a", 1, announced=True).pack(),
        asking.History(1, b"a", 1).pack()[:-1] + b"",
    ],
)
@scene
async def test_a_worker_that_says_what_it_may_not_is_dropped(scene: Scene, frame: bytes) -> None:
    host = scene.host()
    worker, other = host.worker(1), host.worker(2)
    await worker.join(b"a")
    await other.join(b"a")
    worker.say((len(frame)).to_bytes(4, "little") + frame[4:])
    assert host.broken == [worker.pair]
    assert host.broker.dropped == 1
    assert (await other.members(b"a")).total == 1
