"""The broker of one of several hosts: what its workers get."""

from __future__ import annotations

import asyncio

import pytest

from mpchat.ipc import answering, asking, records
from mpchat.ipc import rooms as kinds
from mpchat.ipc.records import CLOSED
from mpchat.ipc.rooms import RECOVERED, REPEATED, STORED, Reason, Since
from mpchat.jetstream.errors import NoReply, Refused
from mpchat.jetstream.subjects import token_of
from tests.unit.broker.nats.clock import until
from tests.unit.broker.nats.rig import Scene, said, scene
from tests.unit.broker.nats.stream import UNANSWERED, UNASKED

KIB = 1024
KEY = b"k" * 16


@scene
async def test_hosts_talk_over_the_stream(scene: Scene) -> None:
    near, far = scene.host().worker(), scene.host().worker()
    await near.join(b"a")
    await far.join(b"a")
    position = await near.publish(b"a", b"hello", flags=kinds.FROM_MEMBER, user=b"ann")
    assert position.offset == 1
    (record,) = [records.parse(frame) for frame in near.take(0)]
    assert (record.user, record.payload, record.flags) == (b"ann", b"hello", 0)
    assert await far.receive(1) == [b"hello"]


@scene
async def test_a_worker_is_welcomed(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    await until(worker.hear)
    welcome = answering.Welcome.parse(worker.told[0])
    assert (welcome.flags, welcome.epoch, welcome.mark) == (STORED, host.epoch, 0)
    counter = worker.begin(b"a", bytes(welcome.largest - 1))
    _, _, offset, _ = await worker.ack(counter)
    assert offset == 1
    assert await worker.refusal(worker.begin(b"a", bytes(welcome.largest))) is Reason.SIZE


@pytest.mark.parametrize("member", [False, True])
@scene
async def test_an_answer_has_the_time_that_the_message_has(scene: Scene, member: bool) -> None:
    host = scene.host()
    worker = host.worker()
    if member:
        await worker.join(b"a")
    host.line.fate = lambda stored: (0.0,) if stored.seq % 2 else (0.5,)
    for number in range(4):
        position = await worker.publish(b"a", b"%d" % number)
        stored = scene.stream.get(position.offset)
        assert stored is not None
        assert position.at == stored.at_ms
        await asyncio.sleep(0.7)


@scene
async def test_an_answer_without_a_time_when_no_server_tells_it(scene: Scene) -> None:
    worker = scene.host().worker()
    worker.host.api.fate = lambda name: NoReply("no") if name == "message" else None
    assert (await worker.publish(b"a")).at == 0


@scene
async def test_what_is_published_again_has_its_first_position(scene: Scene) -> None:
    near, far = scene.host(), scene.host()
    worker = near.worker()
    first = await worker.publish(b"a", b"once", key=KEY)
    for again in (worker, far.worker(9)):
        flags, _, offset, at = await again.ack(again.begin(b"a", b"once", key=KEY))
        assert (flags, offset, at) == (REPEATED, first.offset, first.at)
    counter = worker.begin(b"a", b"two")
    second = await worker.ack(counter)
    worker.say(asking.pack_publish(counter, b"a", b"two"))
    assert await worker.ack(counter) == (REPEATED, *second[1:])
    assert [one.seq for one in scene.stream.all(token_of(b"a"))] == [1, 2]
    assert (near.broker.published, near.broker.repeated, far.broker.repeated) == (2, 2, 1)


@scene
async def test_workers_of_several_hosts_with_the_same_numbers_are_different_ones(
    scene: Scene,
) -> None:
    for number in range(3):
        assert (await scene.host().worker(1).publish(b"a", b"%d" % number)).offset == number + 1


@scene
async def test_a_new_broker_knows_what_the_old_one_has_stored(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    await worker.join(b"a")
    position = await worker.publish(b"a", b"0")
    host.api.fates("publish", UNANSWERED)
    counter = worker.begin(b"a", b"1")
    await asyncio.sleep(0.5)
    host.kill()
    host.start()
    worker = host.worker()
    answer = await worker.subscribe(b"a", 1, position)
    assert answer.flags & RECOVERED
    assert said(answer) == [b"1"]
    worker.say(asking.pack_publish(counter, b"a", b"1"))
    flags, _, offset, _ = await worker.ack(counter)
    assert (flags, offset) == (REPEATED, 2)


@scene
async def test_a_worker_that_does_not_read_goes_on_by_its_positions(scene: Scene) -> None:
    host = scene.host(worker_backlog=8 * KIB)
    slow, quick = host.worker(1), host.worker(2)
    await slow.join(b"a")
    await slow.join(b"b")
    await quick.join(b"a")
    position = await quick.publish(b"a", b"first")
    await slow.receive(1)
    slow.wire.is_stopped = True
    for _ in range(10):
        await quick.publish(b"a", bytes(2 * KIB))
    last = await quick.publish(b"b", b"last")
    assert slow.pair.behind is not None
    assert host.broker.status()["behind"] == 1
    assert slow.wire.most < 16 * KIB
    await quick.receive(11)
    await asyncio.sleep(3.0)
    assert not slow.take(kinds.LOST)
    slow.wire.go_on()
    await until(lambda: kinds.LOST in [frame[4] for frame in slow.hear()])
    got = slow.payloads()
    assert 0 < len(got) < 10
    assert not [
        frame
        for frame in slow.told
        if frame[4] == kinds.MARK
        and answering.parse_mark(frame).offset > position.offset + len(got)
    ]
    await quick.publish(b"a", b"while it has no room")
    assert slow.payloads() == []
    answer = await slow.subscribe(b"a", 1, position)
    assert [len(text) for text in said(answer)] == [2 * KIB] * 10 + [20]
    answer = await slow.subscribe(b"b", 1, position)
    assert said(answer) == [b"last"]
    assert last.offset < scene.stream.last_seq
    await quick.publish(b"a", b"on")
    assert await slow.receive(1) == [b"on"]
    assert (host.broker.lost, host.broker.members.total) == (1, 3)


@scene
async def test_a_room_s_end_reaches_all_hosts(scene: Scene) -> None:
    near, far = scene.host(), scene.host()
    workers = [near.worker(1), near.worker(2), far.worker(3)]
    for worker in workers:
        await worker.join(b"a")
        await worker.join(b"a", 2, info=b"{}")
    workers[0].say(asking.pack_close(1, b"a"))
    await workers[0].ack(1)
    await asyncio.sleep(0.1)
    for worker in workers:
        (record,) = [records.parse(frame) for frame in worker.take(0)]
        assert (record.kind, record.payload) == (CLOSED, b"")
        assert worker.host.broker.members.total == 0
        counter = worker.begin(b"a", b"x", flags=kinds.FROM_MEMBER)
        assert await worker.refusal(counter) is Reason.CLOSED
    await workers[0].publish(b"a", b"anew")
    await workers[2].join(b"a")
    await workers[0].publish(b"a", b"again")
    assert await workers[2].receive(1) == [b"again"]
    assert workers[1].payloads() == []


@scene
async def test_a_member_that_left_publishes_no_more(scene: Scene) -> None:
    worker = scene.host().worker()
    await worker.join(b"a")
    worker.say(asking.Leave(b"a", 1, False).pack())
    counter = worker.begin(b"a", b"x", flags=kinds.FROM_MEMBER)
    assert await worker.refusal(counter) is Reason.CLOSED
    assert (await worker.publish(b"a", b"as nobody")).offset == 1


@scene
async def test_a_message_that_the_stream_finds_too_large(scene: Scene) -> None:
    worker = scene.host().worker()
    scene.stream.refuses = Refused("too large", 10054, 400, "")
    assert await worker.refusal(worker.begin(b"a")) is Reason.SIZE
    assert worker.host.broker.refused == 1


@scene
async def test_without_the_stream_members_stay_and_publishes_have_their_time(scene: Scene) -> None:
    host = scene.host(publish_timeout=5.0)
    worker = host.worker()
    await worker.join(b"a")
    await asyncio.sleep(3.0)
    assert host.broker.status()["stream_lost_at"] == 0
    lost_at = asyncio.get_running_loop().time()
    host.line.lose(8.0)
    counter = worker.begin(b"a", b"1")
    worker.say(asking.Join(worker.number(), b"b", 1).pack())
    await asyncio.sleep(4.0)
    assert not worker.take(kinds.REFUSED)
    assert host.broker.status()["stream_lost_at"] == int(lost_at * 1000)
    assert await worker.refusal(counter) is Reason.UNAVAILABLE
    assert (await worker.members(b"a")).total == 1
    late = worker.begin(b"a", b"2")
    await until(lambda: worker.take(kinds.JOINED))
    assert (await worker.ack(late))[2] == 1
    assert await worker.receive(1) == [b"2"]
    await asyncio.sleep(2.0)
    assert host.broker.status()["stream_lost_at"] == 0


@scene
async def test_what_the_stream_has_lost_makes_members_come_back(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    await worker.join(b"a")
    position = await worker.publish(b"b", b"1")
    host.line.lose(3.0)
    scene.store(b"a", b"gone")
    scene.store(b"a", b"gone, too")
    scene.stream.expire()
    await until(lambda: worker.take(kinds.LOST))
    answer = await worker.subscribe(b"a", 1, position)
    assert not answer.flags & RECOVERED
    assert answer.offset < scene.store(b"a", b"new")
    assert await worker.receive(1) == [b"new"]


@scene
async def test_workers_are_told_how_far_all_of_their_rooms_are(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker(1)
    await worker.join(b"quiet")
    scene.store(b"other", b"x")
    last = scene.store(b"other", b"x")
    await asyncio.sleep(2.5)
    (mark,) = map(answering.parse_mark, worker.take(kinds.MARK))
    stored = scene.stream.get(last)
    assert stored is not None
    assert mark == (last, stored.at_ms)
    late = host.worker(2)
    await asyncio.sleep(2.5)
    assert list(map(answering.parse_mark, late.take(kinds.MARK))) == [mark]
    assert not worker.take(kinds.MARK), "it knows"
    answer = await worker.join(b"quiet", 2, since=Since(host.epoch, *mark))
    assert answer.flags & RECOVERED


@scene
async def test_a_worker_that_is_gone_has_no_members(scene: Scene) -> None:
    host = scene.host()
    worker, other = host.worker(1), host.worker(2)
    await worker.join(b"a")
    await worker.join(b"a", 2, info=b"{}")
    await worker.join(b"b")
    await other.join(b"a")
    host.broker.worker_gone(1)
    assert (await other.members(b"a")).total == 1
    await asyncio.sleep(0.1)
    assert list(host.broker._feeds.found) == [b"a"]
    assert other.changes() == [kinds.Change.LEFT]
    host.broker.worker_gone(1)
    assert not host.broken


@scene
async def test_operators_see_the_rooms_with_most_messages(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    await worker.join(b"a")
    await worker.join(b"b")
    for _ in range(3):
        await worker.publish(b"b")
    await worker.receive(3)
    await asyncio.sleep(1.0)
    host.broker.second()
    rows = host.broker.busiest("messages", 2)
    assert [row["room"] for row in rows] == ["b", "a"]
    status = host.broker.status()
    assert (status["rooms"], status["members"], status["delivered"]) == (2, 2, 3)


@pytest.mark.parametrize("fate", [UNASKED, UNANSWERED])
@scene
async def test_a_publisher_s_messages_keep_their_order(scene: Scene, fate: str) -> None:
    host = scene.host(publish_timeout=60.0)
    worker = host.worker()
    await worker.join(b"a")
    host.api.fates("publish", None, fate, None, fate, fate)
    counters = [worker.begin(b"a", b"%d" % number) for number in range(10)]
    acks = await worker.receive(10)
    assert acks == [b"%d" % number for number in range(10)]
    await worker.ack(counters[-1])


@pytest.mark.covers("JetStreamOptions.check-interval")
@scene
async def test_the_stream_is_looked_at_each_interval(scene: Scene) -> None:
    looks = []
    for seconds in (1.0, 0.1):
        scene.stream.options = scene.stream.options.model_copy(update=dict(check_interval=seconds))
        host = scene.host()
        before = host.api.asked["info"]
        await asyncio.sleep(3.5)
        looks.append(host.api.asked["info"] - before)
    assert looks[0] == 3
    assert looks[1] > 20
