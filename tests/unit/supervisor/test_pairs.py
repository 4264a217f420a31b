"""Pairs between workers and the broker: one for each two that live, whatever the system refuses."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from mpchat.ipc import messages
from mpchat.ipc.channel import Channel
from mpchat.linux import system
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.family import Family
from mpchat.supervisor.faults import Faults
from mpchat.supervisor.log import Log
from mpchat.supervisor.pairs import Pairs
from mpchat.supervisor.timing import Timing
from tests.kit.descriptors import descriptors_open


@dataclass
class Rig:
    """A broker and workers without processes: the far ends of their channels are read here."""

    family: Family
    pairs: Pairs
    ends: dict[str, Channel] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)

    def child(self, name: str, role: Role, number: int) -> Child:
        near, far = Channel.pair()
        child = Child(name, role, near, number=number, slot=number, ready=True)
        self.ends[name] = Channel(far)
        self.children.append(child)
        if role is Role.BROKER:
            self.family.add(child)
        else:
            self.family.workers[number] = child
        return child

    def told(self, name: str) -> list[messages.Message]:
        """Return what a child was told; its descriptors are closed."""
        found = []
        while (received := messages.receive(self.ends[name])) is not None:
            message, descriptors = received
            found.append(message)
            for descriptor in descriptors:
                os.close(descriptor)
        return found

    def close(self) -> None:
        for child in self.children:
            child.release()
        for end in self.ends.values():
            end.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    log = Log()
    family = Family(log, Faults(log), lambda *_given: None)
    rig = Rig(family, Pairs(Timing(), log, family))
    yield rig
    rig.close()


def test_each_worker_gets_one_end_and_the_broker_the_others(rig: Rig) -> None:
    for number in (1, 2):
        rig.child(f"worker {number}", Role.WORKER, number)
    rig.pairs.tick(1.0)
    assert rig.told("worker 1") == []
    broker = rig.child("broker", Role.BROKER, 7)
    before = descriptors_open()
    rig.pairs.tick(2.0)
    rig.pairs.tick(3.0)
    assert rig.pairs.due is None
    received = [messages.receive(rig.ends[name]) for name in ("broker", "worker 1")]
    (for_broker, (near,)), (for_worker, (far,)) = [one for one in received if one is not None]
    assert for_broker == messages.RoomsPair(1, 1, 1)
    assert for_worker == messages.BrokerPair(1, 1)
    with socket.socket(fileno=near) as one, socket.socket(fileno=far) as other:
        assert one.type == socket.SOCK_STREAM
        one.sendall(b"hello")
        assert other.recv(10) == b"hello"
        one.close()
        # Nobody else has that end.
        assert other.recv(10) == b""
    assert rig.told("broker") == [messages.RoomsPair(2, 2, 2)]
    assert rig.told("worker 2") == [messages.BrokerPair(2, 2)]
    assert descriptors_open() == before
    broker.role = Role.LEAVING
    rig.child("next", Role.BROKER, 8)
    rig.pairs.tick(4.0)
    assert rig.told("next") == [messages.RoomsPair(3, 1, 1), messages.RoomsPair(4, 2, 2)]
    assert rig.told("worker 1") == [messages.BrokerPair(3, 1)]


def test_a_broker_that_is_not_ready_gets_none(rig: Rig) -> None:
    rig.child("worker 1", Role.WORKER, 1)
    broker = rig.child("broker", Role.BROKER, 1)
    broker.ready = False
    rig.pairs.tick(1.0)
    assert rig.told("broker") == []


@pytest.mark.parametrize("call", ["socketpair", "sendmsg"])
def test_what_the_system_refuses_is_tried_again_after_a_pause(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], call: str
) -> None:
    tried = 0

    def refuse(*_given: Any) -> None:
        nonlocal tried
        tried += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    for number in range(1, 5):
        rig.child(f"worker {number}", Role.WORKER, number)
    rig.child("broker", Role.BROKER, 1)
    before = descriptors_open()
    now = 100.0
    with monkeypatch.context() as patch:
        patch.setattr(system, call, refuse)
        for _ in range(6):
            # One try for all workers: what is refused to one is refused to the next.
            tried = 0
            rig.pairs.tick(now)
            assert tried == 1
            assert rig.pairs.due is not None
            now = max(now, rig.pairs.due)
    assert now > 100.0 + Timing().first_backoff
    assert descriptors_open() == before
    rig.pairs.tick(now)
    assert rig.pairs.due is None
    for number in range(1, 5):
        assert len(rig.told(f"worker {number}")) == 1
    assert "gets no pair to the broker yet: Too many open files" in capfd.readouterr().err


def test_a_lost_pair_is_replaced_at_a_limited_rate(rig: Rig) -> None:
    worker = rig.child("worker 1", Role.WORKER, 1)
    other = rig.child("worker 2", Role.WORKER, 2)
    broker = rig.child("broker", Role.BROKER, 1)
    now = 100.0
    rig.pairs.tick(now)
    last, given = 1, 0
    # Another worker's pair, and one that was replaced, concern nobody.
    rig.pairs.lost(other, 1, now)
    for _ in range(50):
        rig.pairs.lost(worker, last, now)
        rig.pairs.lost(broker, last, now)
        rig.pairs.tick(now)
        pairs = [one for one in rig.told("worker 1") if isinstance(one, messages.BrokerPair)]
        given += len(pairs)
        last = pairs[-1].pair if pairs else last
        now += 0.01
    assert 2 <= given <= 5
    assert len(rig.told("worker 2")) == 1


def test_the_end_of_a_worker_is_told_to_the_broker_that_knows_it(rig: Rig) -> None:
    worker = rig.child("worker 1", Role.WORKER, 1)
    rig.pairs.ended(worker)
    broker = rig.child("broker", Role.BROKER, 1)
    rig.pairs.tick(1.0)
    rig.told("broker")
    rig.pairs.ended(worker)
    assert rig.told("broker") == [messages.WorkerGone(1)]
    rig.pairs.ended(worker)
    assert rig.told("broker") == []
    rig.pairs.tick(2.0)
    broker.role = Role.LEAVING
    rig.child("next", Role.BROKER, 2)
    rig.pairs.ended(worker)
    assert rig.told("next") == []
