"""Random schedules of workers, publishes, deaths and brokers, and random bytes: one order, once each."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.ipc import answering, asking, records
from mpchat.ipc import rooms as kinds
from mpchat.ipc.framing import split_frames
from tests.kit.acks import parse_ack
from tests.unit.broker.rig import KIB, Rig, Worker

ROOMS = [b"a", b"b", b"c"]


@given(st.lists(st.binary(max_size=60), max_size=20), st.booleans())
@settings(max_examples=150, deadline=None)
def test_random_bytes_hurt_nobody_else(chunks: list[bytes], has_begun: bool) -> None:
    rig = Rig()
    try:
        honest, confused = rig.worker(1), rig.worker(2)
        honest.join(b"a")
        confused.pair.has_begun = has_begun
        for chunk in chunks:
            confused.say(chunk)
        assert honest.publish(b"a", b"still here")
    finally:
        rig.close()


@given(st.lists(st.tuples(st.integers(14, 42), st.binary(max_size=80)), max_size=20))
@settings(max_examples=150, deadline=None)
def test_frames_of_random_content_hurt_nobody_else(frames: list[tuple[int, bytes]]) -> None:
    rig = Rig()
    try:
        honest, confused = rig.worker(1), rig.worker(2)
        honest.join(b"\x01")
        for kind, body in frames:
            confused.say(struct.pack("<IB", 5 + len(body), kind) + body)
        rig.second()
        rig.broker.worker_gone(2)
        rig.turn()
        assert rig.broker.members.total <= 1, "unless its room was closed"
        assert honest.publish(b"a", b"still here")
    finally:
        rig.close()


@dataclass
class Member:
    """A worker that keeps the rules: what it is in, what it has seen, what has no answer yet."""

    worker: Worker
    rooms: set[bytes] = field(default_factory=set)
    position: dict[bytes, int] = field(default_factory=dict)
    seen: dict[bytes, list[int]] = field(default_factory=dict)
    open: dict[int, bytes] = field(default_factory=dict)
    acked: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    def listen(self) -> None:
        for frame in self.worker.heard():
            if frame[4] < 16:
                self._see(frame)
            elif frame[4] == kinds.ACK:
                _, counter, offset, _ = parse_ack(frame)
                if counter in self.open:
                    self.acked[counter] = offset, self.open.pop(counter)
                else:
                    assert self.acked[counter][0] == offset, "the first position, again"
            elif frame[4] == kinds.MARK:
                for room in self.rooms:
                    mark = answering.parse_mark(frame).offset
                    assert mark >= self.position[room]
                    self.position[room] = mark

    def _see(self, record: bytes) -> None:
        room, offset = records.parse(record).room, records.offset_of(record)
        assert room in self.rooms
        assert offset > self.position[room], "twice, or out of order"
        self.position[room] = offset
        self.seen[room].append(offset)

    def resume(self, room: bytes, since: int | None) -> None:
        position = None if since is None else self.worker.rig.since(since)
        answer = self.worker.subscribe(room, 1, position)
        if since is not None:
            assert answer.flags & kinds.RECOVERED
        self.rooms.add(room)
        self.position[room] = answer.offset
        self.seen.setdefault(room, [])
        for record in split_frames(answer.records):
            self._see(record)
        self.position[room] = answer.mark


STEP = st.one_of(
    st.tuples(st.just("publish"), st.integers(0, 2), st.sampled_from(ROOMS)),
    st.tuples(st.just("publish"), st.integers(0, 2), st.sampled_from(ROOMS)),
    st.tuples(st.just("turn"), st.none(), st.none()),
    st.tuples(st.just("second"), st.none(), st.none()),
    st.tuples(st.just("join"), st.integers(0, 2), st.sampled_from(ROOMS)),
    st.tuples(st.just("stop"), st.integers(0, 2), st.none()),
    st.tuples(st.just("read"), st.integers(0, 2), st.integers(1, 30_000)),
    st.tuples(st.just("reconnect"), st.integers(0, 2), st.none()),
    st.tuples(st.just("kill"), st.none(), st.none()),
)


@given(st.lists(STEP, max_size=60), st.integers(20, 3000))
@settings(max_examples=120, deadline=None)
def test_one_order_and_every_message_once_whatever_happens(
    steps: list[tuple[str, int | None, object]], size: int
) -> None:
    rig = Rig(worker_backlog=8 * KIB)
    try:
        members = [Member(rig.worker(number)) for number in range(1, 4)]
        sent = 0

        def reconnect(member: Member) -> None:
            member.worker = rig.worker(member.worker.incarnation)
            for room in sorted(member.rooms):
                member.resume(room, member.position[room])
            for counter, room in member.open.items():
                member.worker.pair.data_received(_publish(counter, room, size))

        for step, who, what in steps:
            member = members[who or 0]
            match step, what:
                case "publish", bytes(room):
                    sent += 1
                    member.open[sent] = room
                    # The numbers of each worker only have to rise.
                    member.worker.pair.data_received(_publish(sent, room, size))
                case "turn", _:
                    rig.turn()
                case "second", _:
                    rig.second()
                case "join", bytes(room):
                    if room not in member.rooms and not member.worker.wire.is_stopped:
                        rig.turn()
                        member.listen()
                        member.resume(room, None)
                case "stop", _:
                    member.worker.wire.is_stopped = True
                case "read", int(most):
                    if member.worker.wire.is_stopped:
                        member.worker.wire.go_on(most)
                case "reconnect", _:
                    member.listen()
                    reconnect(member)
                case "kill", _:
                    for one in members:
                        one.listen()
                    rig.kill()
                    for one in members:
                        reconnect(one)
            for one in members:
                one.listen()
        for one in members:
            one.worker.wire.go_on()
        rig.turn()
        rig.second()
        for one in members:
            one.listen()
        _judge(rig, members)
    finally:
        rig.close()


def _publish(counter: int, room: bytes, size: int) -> bytes:
    return asking.pack_publish(counter, room, b"%d " % counter + bytes(size))


def _judge(rig: Rig, members: list[Member]) -> None:
    for room in ROOMS:
        found = rig.store.since(room, 0, rig.options.history)
        offsets = [records.offset_of(record) for record in found.records]
        counters = [records.parse(record).counter for record in found.records]
        assert len(set(counters)) == len(counters), "doubled"
        for member in members:
            assert not member.open, "everything is answered"
            for counter, (offset, of) in member.acked.items():
                if of == room:
                    assert offsets[counters.index(counter)] == offset
            if room in member.rooms:
                seen = member.seen[room]
                assert seen == offsets[len(offsets) - len(seen) :], (
                    "a member sees all since it joined"
                )
    for member in members:
        own = sorted(member.acked)
        for room in ROOMS:
            placed = [
                member.acked[counter][0] for counter in own if member.acked[counter][1] == room
            ]
            assert placed == sorted(placed), "each publisher's order"
