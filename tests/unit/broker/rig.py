"""A broker in one thread: its loop is a list of callbacks, and its pairs are wires in memory.

A wire that is stopped keeps what is written, as a transport does whose peer does not read.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mpchat.broker.broker import Broker
from mpchat.broker.history import History
from mpchat.broker.options import BrokerOptions
from mpchat.broker.pairs import Pair
from mpchat.broker.reading import Limits
from mpchat.broker.store import Store
from mpchat.ipc import answering, asking, records
from mpchat.ipc import rooms as kinds
from mpchat.ipc.framing import Frames
from mpchat.ipc.rooms import Since
from tests.kit.acks import parse_ack

KIB = 1024
MIB = 1024 * KIB
OPTIONS = BrokerOptions(
    history=Limits(1000, MIB, 3_600_000),
    max_rooms=1000,
    max_members=10_000,
    worker_backlog=MIB,
    publish_timeout=10.0,
    presence=True,
)


def memory(size: int = 2 * MIB) -> int:
    """Return a file for a history."""
    descriptor = os.memfd_create("rooms")
    os.posix_fallocate(descriptor, 0, size)
    return descriptor


class Wire(asyncio.Transport):
    """The broker's transport of a pair."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.unsent: list[bytes] = []
        self.most = 0
        self.is_stopped = self.is_full = self.is_closed = False
        self.reads = True
        self._pair = pair
        self._high = self._low = 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        self._high, self._low = high, high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.unsent))

    def write(self, data: Any) -> None:
        if not self.is_stopped:
            self.sent.append(bytes(data))
            return
        self.unsent.append(bytes(data))
        self.most = max(self.most, self.get_write_buffer_size())
        if self.get_write_buffer_size() > self._high and not self.is_full:
            self.is_full = True
            self._pair.pause_writing()

    def go_on(self, most: int | None = None) -> None:
        """Let the peer read, all or at most so many bytes."""
        self.is_stopped = most is not None
        while self.unsent and (most is None or most > 0):
            data = self.unsent.pop(0)
            if most is not None and len(data) > most:
                self.unsent.insert(0, data[most:])
                data = data[:most]
            if most is not None:
                most -= len(data)
            self.sent.append(data)
        if self.is_full and self.get_write_buffer_size() <= self._low:
            self.is_full = False
            self._pair.resume_writing()

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def abort(self) -> None:
        self.is_closed = True


class Worker:
    """A worker's end, at a broker whose loop the rig turns."""

    def __init__(self, rig: Rig, incarnation: int, slot: int = 0) -> None:
        self.rig, self.incarnation = rig, incarnation
        self._near, self._far = socket.socketpair()
        self._far.settimeout(10.0)
        self.pair = Pair(
            rig.broker,
            self._near,
            number=incarnation,
            incarnation=incarnation,
            slot=slot,
            backlog=rig.options.worker_backlog,
        )
        rig.broker.adopt(self.pair)
        self.wire = Wire(self.pair)
        self.pair.connection_made(self.wire)
        self._frames = Frames()
        self._numbers = 0
        self.say(asking.Hello(incarnation, incarnation).pack())

    def say(self, *frames: bytes) -> None:
        """Send frames, and let the broker's loop turn."""
        self.pair.data_received(b"".join(frames))
        self.rig.turn()

    def heard(self) -> list[bytes]:
        """Return the frames that have come since the last call."""
        sent, self.wire.sent = self.wire.sent, []
        return self._frames.cut(b"".join(sent)) if sent else []

    def records(self) -> list[records.Record]:
        """Return the records that have come since the last call, without the other frames."""
        return [records.parse(frame) for frame in self.heard() if frame[4] < 16]

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def counter(self) -> int:
        """Return the next number of a publish; a worker goes on over brokers."""
        self.rig.counters[self.incarnation] += 1
        return self.rig.counters[self.incarnation]

    def join(
        self,
        room: bytes,
        member: int = 1,
        *,
        since: Since | None = None,
        info: bytes | None = None,
        user: bytes = b"",
    ) -> answering.Answer:
        """Join, and return the answer; what else has come is lost."""
        frame = asking.Join(self.number(), room, member, since, user, info).pack()
        self.say(frame)
        return self._answer(kinds.JOINED)

    def subscribe(
        self, room: bytes, counted: int = 1, since: Since | None = None
    ) -> answering.Answer:
        self.say(asking.Subscribe(self.number(), room, counted, since).pack())
        return self._answer(kinds.JOINED)

    def history(
        self, room: bytes, limit: int = 1000, since: Since | None = None
    ) -> answering.Answer:
        self.say(asking.History(self.number(), room, limit, since).pack())
        return self._answer(kinds.HISTORY_PAGE)

    def members(self, room: bytes) -> list[answering.MembersPage]:
        self.say(asking.Members(self.number(), room).pack())
        return [
            answering.MembersPage.parse(frame)
            for frame in self.heard()
            if frame[4] == kinds.MEMBERS_PAGE
        ]

    def publish(self, room: bytes, payload: bytes = b"hi", **other: Any) -> int:
        """Publish, and return the offset that was answered; other frames are lost."""
        counter = self.counter()
        self.say(asking.pack_publish(counter, room, payload, **other))
        for frame in self.heard():
            if frame[4] == kinds.ACK:
                _flags, found, offset, _at = parse_ack(frame)
                if found == counter:
                    return offset
        raise AssertionError("no answer")

    def refused(self, frame: bytes) -> kinds.Reason:
        """Send a frame that is refused, and return why."""
        self.say(frame)
        (answer,) = [frame for frame in self.heard() if frame[4] == kinds.REFUSED]
        return answering.parse_refused(answer)[0]

    def hints(self) -> list[answering.Presence]:
        return [
            answering.Presence.parse(frame) for frame in self.heard() if frame[4] == kinds.PRESENCE
        ]

    def die(self) -> None:
        """End as a process does."""
        self.pair.connection_lost(None)
        self.rig.turn()

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def _answer(self, kind: int) -> answering.Answer:
        *_, frame = [frame for frame in self.heard() if frame[4] == kind]
        return answering.Answer.parse(frame)


class Rig:
    """A broker, and its loop."""

    def __init__(self, store: Store | None = None, **options: Any) -> None:
        self.options = replace(OPTIONS, **options)
        self.descriptor = memory()
        self.store = store or History(self.descriptor)
        self.now = 1000.0
        self.broken: list[Pair] = []
        self.counters: defaultdict[int, int] = defaultdict(int)
        self._callbacks: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._workers: list[Worker] = []
        self.broker = self._broker()

    def _broker(self) -> Broker:
        return Broker(
            self.store,
            self.options,
            lambda callback, *args: self._callbacks.append((callback, args)),
            broken=self.broken.append,
            wall=lambda: 1_764_374_400_000,
            clock=lambda: self.now,
        )

    def kill(self) -> None:
        """Let another broker take the place of this one, which has no time for anything."""
        self._callbacks.clear()
        self.store = History(self.descriptor)
        self.broker = self._broker()

    def worker(self, incarnation: int, slot: int = 0) -> Worker:
        worker = Worker(self, incarnation, slot)
        self._workers.append(worker)
        return worker

    def once(self) -> None:
        """Run what is due in one turn of the loop."""
        for _ in range(len(self._callbacks)):
            callback, args = self._callbacks.popleft()
            callback(*args)

    def turn(self) -> None:
        """Turn until nothing is left to do."""
        for _ in range(100_000):
            if not self._callbacks:
                return
            self.once()
        raise AssertionError("the loop is never done")

    def second(self) -> None:
        self.now += 1.0
        self.broker.second()
        self.turn()

    def since(self, offset: int) -> Since:
        return Since(self.store.epoch, offset)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        os.close(self.descriptor)
