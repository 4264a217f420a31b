"""The broker's order: publishes, answers, deliveries, repeats, closing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mpchat.broker.unstored import Unstored
from mpchat.ipc import answering, asking, records
from mpchat.ipc import rooms as kinds
from mpchat.ipc.framing import split_frames
from mpchat.ipc.rooms import FROM_MEMBER, Reason, Since, Status
from tests.kit.acks import parse_ack
from tests.unit.broker.rig import MIB, Rig, Worker


def acks(worker: Worker) -> list[tuple[int, int, int, int]]:
    return [parse_ack(frame) for frame in worker.heard() if frame[4] == kinds.ACK]


def test_a_worker_is_told_what_the_broker_has(rig: Rig) -> None:
    worker = rig.worker(7)
    (frame,) = worker.heard()
    welcome = answering.Welcome.parse(frame)
    assert welcome.epoch == rig.store.epoch
    assert (welcome.floor, welcome.mark) == (rig.store.floor, rig.store.mark)
    assert welcome.largest == rig.store.largest - records.OVERHEAD
    assert welcome.flags == kinds.STORED


def test_a_message_reaches_each_worker_with_members_once(rig: Rig) -> None:
    near, far, other = rig.worker(1), rig.worker(2), rig.worker(3)
    near.join(b"a", 1)
    near.join(b"a", 2)
    far.join(b"a", 1)
    other.join(b"b", 1)
    other.heard()
    near.say(asking.pack_publish(1, b"a", b"hello", user=b"ann", flags=records.BINARY | 4))
    heard = near.heard()
    assert [frame[4] for frame in heard] == [kinds.ACK, records.MESSAGE]
    (record,) = far.records()
    assert (record.room, record.user, record.payload) == (b"a", b"ann", b"hello")
    assert record.flags == records.BINARY | 4
    assert parse_ack(heard[0])[2] == record.offset
    assert not other.heard()


def test_the_answers_of_a_turn_come_before_its_deliveries_and_are_stored(rig: Rig) -> None:
    worker = rig.worker(1)
    worker.join(b"a")
    worker.pair.data_received(
        b"".join(asking.pack_publish(number, b"a", b"%d" % number) for number in range(1, 6))
    )
    assert not worker.heard(), "nobody hears of what is not stored"
    rig.turn()
    heard = worker.heard()
    assert [frame[4] for frame in heard] == [kinds.ACK] * 5 + [records.MESSAGE] * 5
    found = rig.store.since(b"a", 0, rig.options.history)
    assert [records.parse(record).payload for record in found.records] == [
        b"1",
        b"2",
        b"3",
        b"4",
        b"5",
    ]
    assert len(worker.wire.sent) == 0


def test_what_came_before_a_join_is_stored_and_sent_before_its_answer(rig: Rig) -> None:
    worker = rig.worker(1)
    worker.join(b"a")
    start = rig.store.mark
    worker.say(
        asking.pack_publish(1, b"a", b"before"),
        asking.Join(5, b"a", 2, rig.since(start)).pack(),
        asking.pack_publish(2, b"a", b"after"),
    )
    heard = [frame for frame in worker.heard() if frame[4] != kinds.ACK]
    assert [frame[4] for frame in heard] == [records.MESSAGE, kinds.JOINED, records.MESSAGE]
    answer = answering.Answer.parse(heard[1])
    assert split_frames(answer.records) == [heard[0]]
    assert records.offset_of(heard[0]) <= answer.mark < records.offset_of(heard[2])


def test_a_turn_is_one_write_for_each_worker(rig: Rig) -> None:
    first, second = rig.worker(1), rig.worker(2)
    for worker in (first, second):
        worker.join(b"a")
        worker.heard()
    first.pair.data_received(
        b"".join(asking.pack_publish(number, b"a", b"x") for number in range(1, 65))
    )
    rig.turn()
    assert len(first.wire.sent) == len(second.wire.sent) == 1


@pytest.mark.parametrize("key", [b"", b"k" * 16])
def test_a_repeat_is_answered_with_the_first_position(rig: Rig, key: bytes) -> None:
    worker = rig.worker(1)
    worker.join(b"a")
    frame = asking.pack_publish(9, b"a", b"once", key=key)
    worker.say(frame)
    first = acks(worker)
    worker.say(frame, frame)
    again = acks(worker)
    assert [flags for flags, *_ in first + again] == [0, kinds.REPEATED, kinds.REPEATED]
    assert {tuple(rest) for _, *rest in first + again} == {tuple(first[0][1:])}
    assert rig.broker.published == 1
    assert rig.broker.repeated == 2


def test_a_repeat_in_the_same_turn_is_stored_once(rig: Rig) -> None:
    worker = rig.worker(1)
    frame = asking.pack_publish(9, b"a", b"once", key=b"k" * 16)
    other = asking.pack_publish(10, b"a", b"once", key=b"k" * 16)
    worker.say(frame, frame, other)
    found = acks(worker)
    assert [counter for _, counter, *_ in found] == [9, 9, 10]
    assert len({offset for *_, offset, _ in found}) == 1
    assert len(rig.store.since(b"a", 0, rig.options.history).records) == 1


def test_a_key_is_known_to_another_worker_and_another_broker(rig: Rig) -> None:
    rig.worker(1).say(asking.pack_publish(1, b"a", b"once", key=b"k" * 16))
    rig.kill()
    other = rig.worker(2)
    other.say(asking.pack_publish(1, b"a", b"once", key=b"k" * 16))
    assert acks(other)[0][0] == kinds.REPEATED


def test_what_was_answered_survives_the_broker_and_offsets_go_on(rig: Rig) -> None:
    worker = rig.worker(1)
    offset = worker.publish(b"a", b"first")
    rig.kill()
    again = rig.worker(1)
    assert again.publish(b"a", b"second") > offset
    answer = again.subscribe(b"a", since=rig.since(offset))
    assert answer.flags & kinds.RECOVERED
    assert [records.parse(record).payload for record in [answer.records]] == [b"second"]


def test_a_message_that_fits_into_no_segment_is_refused(rig: Rig) -> None:
    worker = rig.worker(1)
    largest = rig.store.largest - records.OVERHEAD - 1
    assert worker.publish(b"a", b"x" * largest)
    refused = asking.pack_publish(77, b"a", b"x" * (largest + 1))
    assert worker.refused(refused) is Reason.SIZE
    assert rig.broker.refused == 1


def test_marks_come_each_second_and_with_a_new_floor_to_who_has_everything(rig: Rig) -> None:
    worker, quiet = rig.worker(1), rig.worker(2)
    quiet.join(b"quiet")
    worker.publish(b"a", b"x")
    quiet.heard()
    rig.second()
    marks = [
        answering.parse_mark(frame).offset for frame in quiet.heard() if frame[4] == kinds.MARK
    ]
    assert marks == [rig.store.mark]
    rig.second()
    assert not quiet.heard(), "nothing is new"
    floor = rig.store.floor
    while rig.store.floor == floor:
        worker.publish(b"a", b"x" * 50_000)
    marks = [
        answering.parse_mark(frame).offset for frame in quiet.heard() if frame[4] == kinds.MARK
    ]
    assert marks == [rig.store.mark]
    assert marks[0] >= rig.store.floor - 1, "a position that is still good"


def test_no_room_begins_beyond_max_rooms(rigs: Callable[..., Rig]) -> None:
    rig = rigs(max_rooms=3)
    worker = rig.worker(1)
    worker.publish(b"a")
    worker.join(b"a")
    worker.join(b"b")
    worker.publish(b"c")
    assert worker.refused(asking.pack_publish(99, b"d", b"x")) is Reason.TOO_MANY_ROOMS
    assert worker.join(b"d").status is Status.TOO_MANY_ROOMS
    assert worker.join(b"c").status is Status.OK
    assert worker.publish(b"b")
    assert rig.broker.status()["rooms"] == 3


def test_max_members_are_counted_over_all_rooms_and_workers(rigs: Callable[..., Rig]) -> None:
    rig = rigs(max_members=3)
    first, second = rig.worker(1), rig.worker(2)
    first.join(b"a", 1)
    first.join(b"b", 2, info=b"{}")
    second.join(b"a", 1)
    assert second.join(b"c", 2).status is Status.TOO_MANY_MEMBERS
    first.die()
    assert second.join(b"c", 2).status is Status.OK
    assert rig.broker.members.total == 2


def test_a_closed_room_is_told_and_has_no_members(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    near.join(b"a")
    before = far.join(b"a", info=b"{}").mark
    far.publish(b"a", b"old")
    near.heard()
    near.say(asking.pack_close(50, b"a"))
    heard = near.heard()
    assert [frame[4] for frame in heard] == [kinds.ACK, records.CLOSED]
    assert [record.kind for record in far.records()] == [records.CLOSED]
    assert rig.broker.members.total == 0
    late = asking.pack_publish(51, b"a", b"late", flags=FROM_MEMBER)
    assert far.refused(late) is Reason.CLOSED
    near.publish(b"a", b"new room")
    assert not far.heard()
    answer = far.join(b"a", since=rig.since(before))
    assert not answer.flags & kinds.RECOVERED
    assert answer.status is Status.OK, "it is in the room that has begun since"
    page = far.history(b"a")
    assert [records.parse(page.records).payload] == [b"new room"]


def test_a_close_that_is_repeated_ends_no_room_that_began_again(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    near.join(b"a")
    near.say(asking.pack_close(1, b"a"))
    far.join(b"a")
    near.heard()
    near.say(asking.pack_close(1, b"a"))
    assert acks(near)[0][0] == kinds.REPEATED
    assert rig.broker.members.total == 1


def test_a_new_broker_says_that_a_room_was_closed(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    offset = far.publish(b"a")
    near.say(asking.pack_close(1, b"a"))
    rig.kill()
    again = rig.worker(2)
    assert again.subscribe(b"a", since=rig.since(offset)).status is Status.CLOSED


@pytest.mark.parametrize("closed", [False, True])
def test_nothing_is_closed_where_nothing_is(rig: Rig, closed: bool) -> None:
    worker = rig.worker(1)
    if closed:
        worker.publish(b"a")
        worker.say(asking.pack_close(60, b"a"))
        worker.heard()
    assert worker.refused(asking.pack_close(61, b"a")) is Reason.NO_ROOM


def test_a_forgotten_room_continues_no_old_position(rig: Rig) -> None:
    worker = rig.worker(1)
    old = worker.publish(b"a", b"old")
    newer = worker.publish(b"a", b"newer")
    while b"a" in rig.store.rooms:
        worker.publish(b"b", b"x" * 50_000)
    assert not worker.join(b"a", since=rig.since(old)).flags & kinds.RECOVERED
    assert not worker.join(b"a", 2, since=rig.since(newer)).flags & kinds.RECOVERED
    marked = rig.store.mark
    worker.publish(b"a", b"begun again")
    answer = worker.join(b"a", 3, since=rig.since(marked))
    assert answer.flags & kinds.RECOVERED
    assert records.parse(answer.records).payload == b"begun again"


def test_positions_of_another_epoch_or_of_the_future_recover_nothing(rig: Rig) -> None:
    worker = rig.worker(1)
    worker.publish(b"a")
    for since in (
        Since("x" * 16, rig.store.mark),
        Since("short", 5),
        Since("é" * 16, 5),
        rig.since(rig.store.mark + 1),
        rig.since(1 << 70),
        rig.since(-1),
    ):
        answer = worker.join(b"a", since=since)
        assert not answer.flags & kinds.RECOVERED
        assert not answer.records
        assert answer.offset == rig.store.mark


def test_without_history_messages_flow_and_nothing_is_recovered(
    rigs: Callable[..., Rig],
) -> None:
    rig = rigs(Unstored(clock=lambda: 1))
    near, far = rig.worker(1), rig.worker(2)
    (welcome,) = far.heard()
    assert not answering.Welcome.parse(welcome).flags & kinds.STORED
    joined = far.join(b"a")
    offset = near.publish(b"a", b"hello")
    assert [record.payload for record in far.records()] == [b"hello"]
    assert not far.join(b"a", 2, since=rig.since(joined.offset)).flags & kinds.RECOVERED
    assert far.join(b"a", 3, since=rig.since(offset)).flags & kinds.RECOVERED
    assert far.publish(b"a") > offset


def test_the_busiest_rooms(rig: Rig) -> None:
    worker = rig.worker(1)
    for member in range(3):
        worker.join(b"crowd", member)
    worker.join(b"loud")
    for _ in range(10):
        worker.publish(b"loud")
    worker.publish("café".encode())
    rig.second()
    by_members = rig.broker.busiest("members", 2)
    assert [row["room"] for row in by_members] == ["crowd", "loud"]
    by_rate = rig.broker.busiest("messages_per_second", 2)
    assert by_rate == [
        {"room": "loud", "members": 1, "messages_per_second": 10.0},
        {"room": "café", "members": 0, "messages_per_second": 1.0},
    ]
    assert rig.broker.busiest("anything else", 2) == by_rate
    assert rig.broker.busiest("members", -1) == []
    worker.join(b"quiet", 2)
    assert len(rig.broker.busiest("members", 10)) == 4
    for _ in range(5):
        rig.second()
    assert rig.broker.busiest("messages_per_second", 1)[0]["messages_per_second"] == 0


def test_status_counts(rig: Rig) -> None:
    worker = rig.worker(1)
    worker.join(b"a")
    worker.publish(b"b")
    status = rig.broker.status()
    assert status["rooms"] == 2
    assert status["members"] == 1
    assert status["behind"] == 0
    assert (status["repeated"], status["refused"], status["delivered"]) == (0, 0, 0)
    worker.publish(b"a")
    assert worker.refused(asking.pack_close(99, b"z")) is Reason.NO_ROOM
    status = rig.broker.status()
    assert (status["refused"], status["delivered"], status["lost"]) == (1, 1, 0)
    assert 0 < status["history_used"] < status["history_size"] == 2 * MIB


def test_history_is_read_in_pages_and_says_where_the_room_stands(rig: Rig) -> None:
    worker = rig.worker(1)
    empty = worker.history(b"a")
    assert (empty.flags, empty.offset, empty.at) == (kinds.RECOVERED, rig.store.mark, 0)
    offsets = [worker.publish(b"a", bytes(100_000)) for _ in range(8)]
    assert worker.join(b"a", since=rig.since(empty.offset)).flags & kinds.RECOVERED

    def found(page: answering.Answer) -> list[int]:
        return [records.offset_of(record) for record in split_frames(page.records)]

    page = worker.history(b"a")
    assert found(page) == offsets[:2]
    assert page.flags & kinds.MORE
    assert page.at > 0
    rest = worker.history(b"a", since=rig.since(offsets[5]))
    assert found(rest) == offsets[6:]
    assert rest.flags == kinds.RECOVERED
    assert found(worker.history(b"a", limit=3)) == offsets[5:7], "the last three, oldest first"
    first = worker.history(b"a", limit=1, since=rig.since(offsets[0]))
    assert found(first) == offsets[1:2]
    assert first.flags & kinds.MORE
    foreign = worker.history(b"a", since=Since("x" * 16, offsets[5]))
    assert not foreign.flags & kinds.RECOVERED
    assert foreign.records


def test_a_member_far_behind_gets_its_history_in_pages_and_then_what_is_live(rig: Rig) -> None:
    publisher, late = rig.worker(1), rig.worker(2)
    start = rig.store.mark
    offsets = [publisher.publish(b"a", bytes(100_000)) for _ in range(6)]
    answer = late.join(b"a", since=rig.since(start))
    assert answer.flags & kinds.MORE
    live = publisher.publish(b"a", b"live")
    assert [record.offset for record in late.records()] == [live]
    found = [records.offset_of(record) for record in split_frames(answer.records)]
    while found[-1] < answer.mark and len(found) < len(offsets):
        page = late.history(b"a", since=rig.since(found[-1]))
        found += [records.offset_of(record) for record in split_frames(page.records)]
    assert [offset for offset in found if offset <= answer.mark] == offsets
