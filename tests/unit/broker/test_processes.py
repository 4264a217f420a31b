"""Brokers as processes: some die at planned points, and some of their workers do not read."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mpchat.broker.history import History
from mpchat.broker.reading import Limits
from mpchat.ipc import answering, asking, records
from mpchat.ipc import rooms as kinds
from mpchat.ipc.framing import Frames, split_frames
from mpchat.ipc.rooms import Since
from tests.kit.acks import parse_ack
from tests.unit.broker.killed import KILLED
from tests.unit.broker.rig import MIB, memory

DEADLINE = 30.0
ROOM = b"room"


@dataclass
class Peer:
    """A worker with one room: it publishes numbered messages, and repeats what has no answer."""

    incarnation: int
    sock: socket.socket | None = None
    position: int | None = None
    epoch: str = ""
    counter: int = 0
    open: dict[int, bytes] = field(default_factory=dict)
    acked: dict[int, int] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)
    repeated: int = 0
    frames: Frames = field(default_factory=Frames)

    def attach(self, sock: socket.socket) -> None:
        """Take a pair to a new broker, say who we are, and repeat what is open, in order."""
        if self.sock is not None:
            self.sock.close()
        self.sock, self.frames = sock, Frames()
        since = None if self.position is None else Since(self.epoch, self.position)
        self.say(
            asking.Hello(self.incarnation, self.incarnation).pack(),
            asking.Subscribe(1, ROOM, 1, since).pack(),
            *self.open.values(),
        )

    def say(self, *frames: bytes) -> None:
        assert self.sock is not None
        # If the broker has died, the next one gets them.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(b"".join(frames))

    def publish(self, count: int, size: int) -> None:
        frames = []
        for _ in range(count):
            self.counter += 1
            text = b"%d:%d " % (self.incarnation, self.counter)
            frame = asking.pack_publish(self.counter, ROOM, text + bytes(size))
            self.open[self.counter] = frame
            frames.append(frame)
        self.say(*frames)

    def listen(self) -> bool:
        """Take what has come; return whether the broker is still there."""
        assert self.sock is not None
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            return False
        for frame in self.frames.cut(data):
            self._take(frame)
        return bool(data)

    def _take(self, frame: bytes) -> None:
        match frame[4]:
            case kind if kind < 16:
                self._see(frame)
            case kinds.WELCOME:
                self.epoch = answering.Welcome.parse(frame).epoch
            case kinds.JOINED:
                answer = answering.Answer.parse(frame)
                assert answer.flags & kinds.RECOVERED
                for record in split_frames(answer.records):
                    self._see(record)
                self.position = answer.mark
            case kinds.ACK:
                flags, counter, offset, _ = parse_ack(frame)
                self.repeated += flags == kinds.REPEATED
                del self.open[counter]
                self.acked[counter] = offset

    def _see(self, record: bytes) -> None:
        offset = records.offset_of(record)
        assert self.position is None or offset > self.position, "twice, or out of order"
        self.position = offset
        self.seen.append(offset)


@contextlib.contextmanager
def broker(
    history: int, point: str, times: int, peers: list[Peer]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a broker with fresh pairs to these peers."""
    pairs = [socket.socketpair() for _ in peers]
    far = [pair[1] for pair in pairs]
    arguments = [str(history), point, str(times), *(str(sock.fileno()) for sock in far)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.broker.killed", *arguments],
        pass_fds=[history, *(sock.fileno() for sock in far)],
    )
    try:
        for peer, (near, other) in zip(peers, pairs, strict=True):
            other.close()
            peer.attach(near)
        yield process
    finally:
        process.kill()
        process.wait()


def live(history: int, point: str, times: int, peers: list[Peer], work: random.Random) -> int:
    """Run one broker until it dies, or until everything is answered; return its exit code."""
    with broker(history, point, times, peers) as process:
        deadline = time.monotonic() + DEADLINE
        gone: set[int] = set()
        rounds = 8 if point != "never" else 1
        while len(gone) < len(peers):
            assert time.monotonic() < deadline, "the broker neither answers nor dies"
            reading = [peer.sock for peer in peers if peer.sock and peer.incarnation not in gone]
            ready, _, _ = select.select(reading, [], [], 1.0)
            for peer in peers:
                if peer.sock in ready and not peer.listen():
                    gone.add(peer.incarnation)
            if all(not peer.open and peer.position is not None for peer in peers):
                if rounds == 0:
                    process.kill()
                    continue
                rounds -= 1
                for peer in peers:
                    peer.publish(work.randint(1, 12), work.choice([10, 300, 5000]))
        return process.wait(DEADLINE)


@pytest.mark.parametrize("point", ["before", "within", "stored", "answered"])
def test_nothing_answered_is_lost_and_nothing_is_doubled(point: str) -> None:
    work = random.Random(point)
    history = memory(4 * MIB)
    peers = [Peer(1), Peer(2)]
    try:
        died = [live(history, point, times, peers, work) == KILLED for times in (1, 3, 8)]
        assert sum(died) >= 2
        live(history, "never", 0, peers, work)
        log = History(history)
        found, since = [], 0
        while page := log.since(ROOM, since, Limits(1 << 30, 1 << 30, 1 << 40)).records:
            found += page
            since = records.offset_of(page[-1])
        parsed = [records.parse(record) for record in found]
        assert len({record.payload.split()[0] for record in parsed}) == len(parsed), "doubled"
        offsets = {(record.incarnation, record.counter): record.offset for record in parsed}
        order = [record.offset for record in parsed]
        for peer in peers:
            assert not peer.open
            for counter, offset in peer.acked.items():
                assert offsets[peer.incarnation, counter] == offset, "lost, or elsewhere"
            assert peer.seen == order[len(order) - len(peer.seen) :]
            assert len(peer.seen) >= len(order) - 30, "it was there from nearly the beginning"
        if point in {"stored", "answered"}:
            assert sum(peer.repeated for peer in peers), "what was stored is not stored again"
    finally:
        for peer in peers:
            if peer.sock is not None:
                peer.sock.close()
        os.close(history)


def test_a_stopped_worker_costs_the_broker_no_memory_and_gets_everything_from_the_log() -> None:
    history = memory(64 * MIB)
    publisher, stopped = Peer(1), Peer(2)
    peers = [publisher, stopped]
    count, size = 40_000, 1024
    try:
        with broker(history, "never", 0, peers) as process:
            until(lambda: all(peer.position is not None for peer in peers), peers)
            before = resident(process.pid)
            for _ in range(count // 500):
                publisher.publish(500, size)
                until(lambda: not publisher.open, [publisher])
            assert resident(process.pid) - before < 8 * MIB, "of 40 MiB"
            assert len(stopped.seen) == 0
            until(lambda: len(stopped.seen) >= count, [stopped])
            until(lambda: len(publisher.seen) >= count, [publisher])
            assert stopped.seen == publisher.seen, "once each, in order"
            publisher.publish(1, size)
            until(lambda: len(stopped.seen) == count + 1, peers)
    finally:
        for peer in peers:
            if peer.sock is not None:
                peer.sock.close()
        os.close(history)


def until(condition: Callable[[], bool], peers: list[Peer]) -> None:
    """Let these peers read until something is so."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the broker does not do it"
        ready, _, _ = select.select([peer.sock for peer in peers if peer.sock], [], [], 1.0)
        for peer in peers:
            if peer.sock in ready:
                assert peer.listen(), "the broker has died"


def resident(pid: int) -> int:
    """Return the bytes of memory that a process takes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")
