"""The broker's process: what the supervisor says to it, and what it says."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpchat.ipc import asking, messages
from mpchat.ipc.channel import Channel, ChannelClosed
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.testsuite.service import wait_until
from tests.kit.waiting import eventually
from tests.unit.broker.rig import MIB, memory

DEADLINE = 20.0


class Supervisor:
    """The supervisor's side of one broker."""

    def __init__(self, folder: Path) -> None:
        self.channel, far = Channel.pair()
        self.board = Scoreboard.create()
        self.board.set_broker("messages", 100)
        self.history = memory(4 * MIB)
        self.fault = os.memfd_create("fault")
        self.log = folder / "log"
        self.ends: list[socket.socket] = []
        given = [far.fileno(), self.board.descriptor, self.fault, self.history]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.broker.served", *map(str, given), str(self.log)],
            pass_fds=given,
        )
        far.close()
        assert self.receive() == messages.Ready()

    def receive(self) -> messages.Message:
        def received() -> messages.Message | None:
            found = messages.receive(self.channel)
            return None if found is None else found[0]

        message: messages.Message | None = wait_until(received, "a message of the broker", DEADLINE)
        assert message is not None
        return message

    def pair(self, number: int, incarnation: int) -> socket.socket:
        """Give the broker a pair; return the worker's end."""
        near, far = socket.socketpair()
        with far:
            pair = messages.RoomsPair(number, incarnation, slot=incarnation)
            messages.send(self.channel, pair, [far.fileno()])
        near.settimeout(DEADLINE)
        self.ends.append(near)
        return near

    def worker(self, incarnation: int) -> socket.socket:
        """Return a worker's end, on which it has said who it is."""
        end = self.pair(incarnation, incarnation)
        end.sendall(asking.Hello(incarnation, incarnation).pack())
        assert end.recv(1000)
        return end

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.channel.close()
        self.board.close()
        for end in self.ends:
            end.close()
        os.close(self.history)
        os.close(self.fault)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path)
    yield supervisor
    supervisor.close()


def test_it_beats_and_counts(supervisor: Supervisor) -> None:
    worker, board = supervisor.worker(1), supervisor.board
    worker.sendall(asking.Join(1, b"a", 1).pack() + asking.pack_publish(1, b"a", b"hello"))
    wait_until(lambda: board.broker("messages") == 101, "the message is counted, after the others")
    wait_until(lambda: (board.broker("rooms"), board.broker("members")) == (1, 1), "a member")
    assert board.broker("history_size") == 4 * MIB
    assert board.broker("history_used") > 0
    beats = board.broker("heartbeat")
    wait_until(lambda: board.broker("heartbeat") > beats, "the loop beats")
    worker.close()
    wait_until(lambda: board.broker("members") == 0, "nobody is there any more")


def test_a_copy_of_a_dead_workers_end_keeps_no_member(supervisor: Supervisor) -> None:
    worker = supervisor.worker(1)
    worker.sendall(asking.Join(1, b"a", 1).pack())
    wait_until(lambda: supervisor.board.broker("members") == 1, "a member")
    messages.send(supervisor.channel, messages.WorkerGone(1))
    wait_until(lambda: supervisor.board.broker("members") == 0, "it is gone")
    worker.settimeout(DEADLINE)
    while worker.recv(1000):
        pass


def test_a_pair_that_cannot_be_used_is_told_with_whose_it_was(supervisor: Supervisor) -> None:
    worker = supervisor.worker(7)
    worker.sendall(b"\x00\x00\x00\x00\x00")
    assert supervisor.receive() == messages.PairLost(7)
    wait_until(lambda: "worker of slot 7" in supervisor.log.read_text(), "a line in the log")
    messages.send(supervisor.channel, messages.RoomsPair(8, 7, 7))
    assert supervisor.receive() == messages.PairLost(8), "no descriptor came with it"
    assert supervisor.worker(9)


async def test_the_rooms_are_reported(supervisor: Supervisor) -> None:
    worker = supervisor.worker(1)
    for number, room in enumerate((b"small", b"large", b"large")):
        worker.sendall(asking.Join(number, room, number).pack())
    await eventually(lambda: supervisor.board.broker("members") == 3, "members")
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near:
        near.setblocking(False)
        with far:
            messages.send(supervisor.channel, messages.ReportRooms("members", 1), [far.fileno()])
        packet = await asyncio.wait_for(
            asyncio.get_running_loop().sock_recv(near, 100_000), DEADLINE
        )
    report = json.loads(packet)
    assert report["last"]
    assert [(row["room"], row["members"]) for row in report["rows"]] == [("large", 2)]


def test_a_question_that_makes_no_sense_does_not_end_it(supervisor: Supervisor) -> None:
    messages.send(supervisor.channel, messages.ReportRooms("colour", -1), [supervisor.fault])
    wait_until(lambda: supervisor.log.exists() and supervisor.log.read_text(), "a line in the log")
    assert supervisor.worker(1)


def test_log_files_are_opened_again(supervisor: Supervisor) -> None:
    supervisor.worker(1).sendall(b"\x00\x00\x00\x00\x00")
    wait_until(lambda: supervisor.log.exists() and supervisor.log.read_text(), "a line in the log")
    supervisor.log.rename(supervisor.log.with_name("old"))
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near:
        near.settimeout(DEADLINE)
        with far:
            messages.send(supervisor.channel, messages.ReopenLogs(), [far.fileno()])
        assert json.loads(near.recv(1000)) == {"pid": supervisor.process.pid, "trouble": []}
    assert supervisor.log.exists()


def test_it_ends_when_it_is_told(supervisor: Supervisor) -> None:
    messages.send(supervisor.channel, messages.Stop())
    assert supervisor.process.wait(DEADLINE) == 0


def test_it_ends_with_the_supervisor(supervisor: Supervisor) -> None:
    supervisor.channel.close()
    assert supervisor.process.wait(DEADLINE) == 0


def test_a_history_that_fails_ends_it_before_anybody_is_answered(supervisor: Supervisor) -> None:
    worker = supervisor.worker(1)
    worker.sendall(asking.pack_publish(1, b"a", b"stored"))
    assert worker.recv(1000)
    # The file gets smaller under it: what is to be read is not there.
    os.ftruncate(supervisor.history, 0)
    worker.sendall(asking.Join(2, b"a", 2).pack() + asking.pack_publish(2, b"a", b"x"))
    assert supervisor.process.wait(DEADLINE) == 1
    assert not worker.recv(1000)
    assert b"Traceback" in os.pread(supervisor.fault, 10_000, 0)
    with pytest.raises(ChannelClosed):
        supervisor.receive()
