"""Pairs whose workers do not read, say what they may not, or end."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from mpchat.broker.unstored import Unstored
from mpchat.ipc import answering, asking, records
from mpchat.ipc import rooms as kinds
from mpchat.ipc.rooms import Status
from tests.unit.broker.rig import KIB, Rig, Worker

BACKLOG = 64 * KIB


@pytest.fixture
def rig(rigs: Callable[..., Rig]) -> Rig:
    return rigs(worker_backlog=BACKLOG)


def flood(worker: Worker, room: bytes, count: int, size: int = KIB) -> list[int]:
    return [worker.publish(room, b"%06d" % number + bytes(size)) for number in range(count)]


def test_a_worker_that_does_not_read_is_one_offset_and_gets_all_from_the_log(rig: Rig) -> None:
    publisher, slow = rig.worker(1), rig.worker(2)
    publisher.join(b"a")
    slow.join(b"a")
    slow.wire.is_stopped = True
    offsets = flood(publisher, b"a", 800)
    assert slow.wire.most <= BACKLOG + 2 * KIB
    assert slow.pair.behind is not None
    assert not slow.pair.out
    assert rig.broker.status()["behind"] == 1
    slow.wire.go_on()
    rig.turn()
    assert slow.pair.behind is None
    heard = slow.heard()
    assert [records.offset_of(frame) for frame in heard if frame[4] < 16] == offsets
    assert answering.parse_mark(heard[-1]).offset == rig.store.mark
    last = publisher.publish(b"a")
    assert [record.offset for record in slow.records()] == [last]


def test_it_goes_on_however_little_it_reads_at_once(rig: Rig) -> None:
    publisher, slow = rig.worker(1), rig.worker(2)
    slow.join(b"a")
    slow.wire.is_stopped = True
    offsets = flood(publisher, b"a", 300)
    found: list[int] = []
    for _ in range(2000):
        slow.wire.go_on(1000)
        rig.turn()
        found += [record.offset for record in slow.records()]
        if len(found) == len(offsets):
            break
    assert found == offsets
    assert slow.wire.most <= BACKLOG + 256 * KIB + 2 * KIB


def test_what_is_published_while_it_catches_up_is_stored_before_it_is_read(rig: Rig) -> None:
    publisher, slow = rig.worker(1), rig.worker(2)
    slow.join(b"a")
    slow.wire.is_stopped = True
    flood(publisher, b"a", 200)
    slow.wire.go_on()
    publisher.pair.data_received(asking.pack_publish(publisher.counter(), b"a", b"meanwhile"))
    rig.turn()
    found = slow.records()
    assert len(found) == 201
    assert found[-1].payload == b"meanwhile"


def test_its_own_publishes_are_answered_meanwhile(rig: Rig) -> None:
    publisher, slow = rig.worker(1), rig.worker(2)
    slow.join(b"a")
    slow.wire.is_stopped = True
    flood(publisher, b"a", 200)
    behind = slow.pair.behind
    slow.say(asking.pack_publish(1, b"a", b"mine"))
    slow.wire.go_on()
    first_ack = next(at for at, frame in enumerate(slow.heard()) if frame[4] == kinds.ACK)
    assert first_ack < 200
    assert behind is not None


def test_questions_wait_in_order_so_that_offsets_never_fall(rig: Rig) -> None:
    publisher, slow = rig.worker(1), rig.worker(2)
    slow.join(b"a")
    first = publisher.publish(b"b", b"before")
    slow.wire.is_stopped = True
    flood(publisher, b"a", 200)
    slow.say(
        asking.Join(8, b"b", 1, rig.since(first - 1)).pack(),
        asking.Leave(b"a", 1, False).pack(),
        asking.Join(9, b"c", 2).pack(),
    )
    assert rig.broker.members.total == 1, "nothing of it is done yet"
    later = publisher.publish(b"b", b"later")
    slow.wire.go_on()
    rig.turn()
    position, joined = 0, []
    for frame in slow.heard():
        if frame[4] < 16:
            assert records.offset_of(frame) > position
            position = records.offset_of(frame)
        elif frame[4] == kinds.MARK:
            assert answering.parse_mark(frame).offset >= position
            position = answering.parse_mark(frame).offset
        elif frame[4] == kinds.JOINED:
            answer = answering.Answer.parse(frame)
            assert answer.mark >= position
            position = answer.mark
            joined.append(answer)
    assert [answer.number for answer in joined] == [8, 9]
    assert joined[0].mark >= later
    assert b"later" in joined[0].records, "it was published before the answer"
    assert rig.broker.members.total == 2


def test_a_worker_that_asks_without_reading_is_not_read(rig: Rig) -> None:
    publisher, slow = rig.worker(1), rig.worker(2)
    slow.join(b"a")
    slow.wire.is_stopped = True
    flood(publisher, b"a", 200)
    question = asking.Members(1, b"a" * 128).pack()
    asked = 0
    while slow.wire.reads and asked < 5000:
        slow.say(question)
        asked += 1
    assert len(question) * asked < BACKLOG + 2 * KIB
    slow.wire.go_on()
    rig.turn()
    assert slow.wire.reads
    assert sum(frame[4] == kinds.MEMBERS_PAGE for frame in slow.heard()) == asked


def test_a_worker_that_publishes_without_reading_the_answers_is_not_read(rig: Rig) -> None:
    confused = rig.worker(1)
    confused.join(b"a")
    confused.heard()
    confused.wire.is_stopped = True
    published = 0
    while confused.wire.reads and published < 100_000:
        published += 100
        frames = [asking.pack_publish(confused.counter(), b"a", b"x") for _ in range(100)]
        confused.say(*frames)
    assert confused.wire.most < 4 * BACKLOG
    confused.wire.go_on(confused.wire.get_write_buffer_size())
    rig.once()
    assert confused.wire.reads, "it has read"
    assert confused.pair.behind is not None, "though not everything yet"
    confused.wire.go_on()
    rig.turn()
    assert confused.wire.reads
    assert sum(frame[4] == kinds.ACK for frame in confused.heard()) == published


def test_answers_larger_than_the_backlog_wait_for_each_other(rig: Rig) -> None:
    worker = rig.worker(1)
    flood(worker, b"a", 50)
    worker.heard()
    worker.wire.is_stopped = True
    for number in range(20):
        worker.say(asking.History(number, b"a", 1000).pack())
    assert worker.wire.most < BACKLOG + 100 * KIB
    worker.wire.go_on()
    rig.turn()
    pages = [answering.Answer.parse(frame) for frame in worker.heard()]
    assert [page.number for page in pages] == list(range(20))


def test_answers_of_one_turn_are_bounded_as_well(rig: Rig) -> None:
    worker = rig.worker(1)
    flood(worker, b"a", 50)
    worker.heard()
    worker.wire.is_stopped = True
    worker.say(*(asking.History(number, b"a", 1000).pack() for number in range(20)))
    assert worker.wire.most < BACKLOG + 100 * KIB
    worker.wire.go_on()
    rig.turn()
    assert len(worker.heard()) == 20


def test_many_large_answers_in_one_turn_are_all_given(rig: Rig) -> None:
    # Nothing is ever held up here, so no transport says that it can go on.
    worker = rig.worker(1)
    flood(worker, b"a", 50)
    worker.heard()
    worker.say(*(asking.History(number, b"a", 1000).pack() for number in range(20)))
    assert [answering.Answer.parse(frame).number for frame in worker.heard()] == list(range(20))


def test_beyond_the_history_it_is_lost_and_subscribes_again(rig: Rig) -> None:
    publisher, slow = rig.worker(1), rig.worker(2)
    publisher.join(b"busy")
    slow.join(b"busy")
    slow.join(b"quiet", info=b"{}")
    seen = publisher.publish(b"busy", b"seen")
    slow.heard()
    slow.wire.is_stopped = True
    floor = rig.store.floor
    flood(publisher, b"busy", 3 * 1024)
    assert rig.store.floor > floor
    slow.wire.go_on()
    rig.turn()
    heard = slow.heard()
    lost = [answering.parse_mark(frame).offset for frame in heard if frame[4] == kinds.LOST]
    assert lost == [rig.store.floor]
    assert rig.broker.lost == 1
    assert slow.pair.behind is None
    assert rig.broker.members.total == 3, "its members are still there"
    publisher.publish(b"busy", b"while it is not subscribed")
    assert not slow.records()
    assert not slow.subscribe(b"busy", 1, rig.since(seen)).flags & kinds.RECOVERED
    quiet = slow.subscribe(b"quiet", 0, rig.since(rig.store.mark))
    assert quiet.flags & kinds.RECOVERED
    assert rig.broker.members.total == 3
    last = publisher.publish(b"busy", b"live again")
    assert [record.offset for record in slow.records()] == [last]


def test_without_history_it_is_lost_at_once(rigs: Callable[..., Rig]) -> None:
    rig = rigs(Unstored(clock=lambda: 1), worker_backlog=BACKLOG)
    publisher, slow = rig.worker(1), rig.worker(2)
    slow.join(b"a")
    slow.wire.is_stopped = True
    flood(publisher, b"a", 200)
    slow.wire.go_on()
    rig.turn()
    assert [frame[4] for frame in slow.heard()][-1] == kinds.LOST


def test_a_room_that_closes_meanwhile_is_told_and_its_new_life_is_not(rig: Rig) -> None:
    publisher, slow = rig.worker(1), rig.worker(2)
    slow.join(b"a")
    slow.join(b"b")
    slow.wire.is_stopped = True
    offsets = flood(publisher, b"b", 200)
    publisher.publish(b"a", b"old")
    publisher.say(asking.pack_close(publisher.counter(), b"a"))
    publisher.publish(b"b", b"after")
    slow.wire.go_on()
    rig.turn()
    found = slow.records()
    assert [record.kind for record in found if record.room == b"a"] == [
        records.MESSAGE,
        records.CLOSED,
    ]
    assert len([record for record in found if record.room == b"b"]) == len(offsets) + 1
    publisher.publish(b"a", b"its next life")
    assert not slow.records()


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x00\x00\x00\x00",
        b"\xff\xff\xff\xff\x15",
        b"\x05\x00\x00\x00\x63",
        b"\x05\x00\x00\x00\x15",
        asking.Hello(1, 1).pack(),
        asking.Subscribe(1, b"a", 1 << 31).pack(),
        asking.Join(1, b"a", 1, announced=True).pack(),
        asking.Join(1, b"a", 1, info=bytes(5000)).pack(),
        asking.Members(1, b"").pack(),
    ],
)
def test_a_worker_that_is_confused_loses_its_own_pair(
    rig: Rig, frame: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    honest, confused = rig.worker(1, 0), rig.worker(2, 5)
    honest.join(b"a")
    confused.join(b"a")
    with caplog.at_level(logging.ERROR, "mpchat.broker"):
        confused.say(frame)
    assert confused.wire.is_closed
    assert "the worker of slot 5 (incarnation 2)" in caplog.text
    assert [pair.number for pair in rig.broken] == [2]
    assert rig.broker.members.total == 1
    honest.publish(b"a")
    assert rig.broker.dropped == 1


def test_a_worker_says_who_it_is_before_all_else(rig: Rig) -> None:
    worker = rig.worker(1)
    worker.pair.has_begun = False
    worker.say(asking.pack_publish(1, b"a", b"x"))
    assert worker.wire.is_closed
    assert not rig.store.rooms
    other = rig.worker(3)
    other.pair.has_begun = False
    other.say(asking.Hello(4, 4).pack())
    assert other.wire.is_closed


def test_a_worker_is_gone_at_the_end_of_file_or_at_the_supervisors_word(rig: Rig) -> None:
    first, second, third = rig.worker(1), rig.worker(2), rig.worker(3)
    for worker in (first, second, third):
        worker.join(b"a")
    first.die()
    assert rig.broker.members.total == 2
    rig.broker.worker_gone(2)
    assert rig.broker.members.total == 1
    assert second.wire.is_closed
    assert not second._far.recv(1), "shut down, whoever else may hold this end"
    second.die()
    rig.broker.worker_gone(2)
    assert third.publish(b"a")
    assert not rig.broken, "nobody is to blame"


def test_a_new_pair_takes_the_place_of_the_old_one(rig: Rig) -> None:
    old = rig.worker(1)
    old.join(b"a")
    new = rig.worker(1)
    assert old.wire.is_closed
    assert rig.broker.members.total == 0
    old.die()
    answer = new.subscribe(b"a", 2, rig.since(rig.store.mark))
    assert answer.status is Status.OK
    assert rig.broker.members.total == 2


def test_frames_of_a_pair_that_has_ended_are_not_taken(rig: Rig) -> None:
    worker = rig.worker(1)
    worker.pair.data_received(
        asking.Members(1, b"").pack() + asking.pack_publish(1, b"a", b"never")
    )
    rig.turn()
    rig.broker.worker_gone(1)
    worker.pair.data_received(asking.pack_publish(2, b"a", b"never"))
    rig.turn()
    assert not rig.store.rooms


def test_a_history_that_cannot_be_written_is_not_taken_for_the_pairs_own_trouble(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = rig.worker(1)

    def fail(*_: object) -> None:
        raise OSError(5, "broken")

    monkeypatch.setattr(rig.broker, "_append", fail)
    with pytest.raises(RuntimeError, match="history"):
        worker.say(asking.pack_publish(1, b"a", b"x"))
