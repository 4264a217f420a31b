"""The broker's succession: never two at once, whatever the moment at which it is to be replaced."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from mpchat.ipc import messages
from mpchat.ipc.channel import Channel
from mpchat.scoreboard.broker import BROKER_STATES
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.supervisor.brokers import Brokers
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.family import Family
from mpchat.supervisor.faults import Faults
from mpchat.supervisor.history import Histories
from mpchat.supervisor.log import Log
from mpchat.supervisor.timing import Timing

SIZE = 4096
TIMING = Timing()


@dataclass
class FakeForks:
    """Keeps requests; the test says when they are sent."""

    unsent: list[Child] = field(default_factory=list)
    made: list[Child] = field(default_factory=list)
    ends: dict[int, Channel] = field(default_factory=dict)
    given: list[int | None] = field(default_factory=list)
    refuses: bool = False

    def request_broker(self, number: int, history: int | None) -> Child:
        if self.refuses:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        near, far = Channel.pair()
        child = Child("broker", Role.BROKER, near, number=number)
        self.ends[number] = Channel(far)
        self.unsent.append(child)
        self.made.append(child)
        self.given.append(history)
        return child

    def forget(self, child: Child) -> bool:
        if child in self.unsent:
            self.unsent.remove(child)
            return True
        return False

    def flush(self) -> None:
        pass

    def close(self) -> None:
        for child in self.made:
            child.release()
        for end in self.ends.values():
            end.close()


class Rig:
    """Brokers without processes."""

    def __init__(self) -> None:
        log = Log()
        self.forks = FakeForks()
        self.board = Scoreboard.create()
        self.histories = Histories()
        self.histories.prepare(SIZE)
        plan = SimpleNamespace(history=SIZE, hang_timeout=2.0)
        self.editions = SimpleNamespace(current=SimpleNamespace(plan=plan), edition=1)
        self.family = Family(log, Faults(log), lambda *_given: None)
        forks: Any = self.forks
        editions: Any = self.editions
        self.brokers = Brokers(
            TIMING, log, self.board, self.family, forks, editions, self.histories, 0.0
        )
        self.killed: list[int] = []

    @property
    def broker(self) -> Child | None:
        return self.family.of(Role.BROKER)

    def is_forked(self, *, says_pid: bool = True) -> Child:
        """The request has been sent; the child says its pid now or later."""
        broker = self.broker
        assert broker is not None
        self.forks.unsent.clear()
        broker.edition = self.editions.edition
        if says_pid:
            self.says_pid(broker)
        return broker

    def says_pid(self, broker: Child) -> None:
        # No process has it; signals are recorded.
        broker.pid = 2**22 + broker.number
        broker.kill = lambda *given: self.killed.append(broker.number)  # type: ignore[method-assign]

    def becomes_ready(self) -> Child:
        broker = self.is_forked()
        broker.ready = True
        self.brokers.became_ready(broker)
        return broker

    def ends(self, broker: Child, now: float) -> None:
        """Its process is gone, as the service deals with that."""
        self.family.forget(broker)
        self.brokers.ended(broker, "killed", now)

    def told(self, number: int) -> list[messages.Message]:
        found = []
        while (received := messages.receive(self.forks.ends[number])) is not None:
            found.append(received[0])
        return found

    def state(self) -> str:
        return BROKER_STATES[self.board.broker("state")]


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.forks.close()
    rig.histories.keep_only(None)
    rig.board.close()


def test_it_starts_at_once_and_again_after_its_end_with_the_same_history(rig: Rig) -> None:
    rig.brokers.tick(1.0)
    assert rig.state() == "starting"
    first = rig.becomes_ready()
    rig.brokers.tick(1.5)
    assert rig.state() == "ready"
    rig.ends(first, 2.0)
    rig.brokers.tick(2.0)
    second = rig.becomes_ready()
    assert (first.number, second.number) == (1, 2)
    assert rig.forks.given == [rig.histories.of(SIZE)] * 2
    assert rig.board.broker("restarts") == 1
    # One that ends again and again waits longer each time.
    rig.ends(second, 2.0)
    rig.brokers.tick(2.0)
    assert rig.broker is None
    assert rig.state() == "down"
    due = rig.brokers.due()
    assert due is not None
    assert due > 2.0
    rig.brokers.tick(due)
    assert rig.broker is not None


def test_a_restart_asks_the_old_one_to_end_first(rig: Rig) -> None:
    rig.brokers.tick(0.0)
    old = rig.becomes_ready()
    rig.brokers.renew(1.0)
    assert rig.brokers.renewal is None
    rig.brokers.renew(1.1)
    assert rig.told(1) == [messages.Stop()]
    rig.brokers.tick(1.2)
    assert rig.broker is old
    rig.ends(old, 1.3)
    rig.brokers.tick(1.3)
    new = rig.is_forked()
    assert (new.number, rig.brokers.renewal) == (2, None)
    rig.becomes_ready()
    assert rig.brokers.renewal == ""


def test_one_that_does_not_stop_is_killed(rig: Rig) -> None:
    rig.brokers.tick(0.0)
    old = rig.becomes_ready()
    rig.brokers.renew(1.0)
    assert rig.brokers.due() == 1.0 + TIMING.now_limit
    rig.brokers.tick(1.0 + TIMING.now_limit)
    assert rig.killed == [1]
    assert not old.open
    rig.brokers.tick(5.0)
    # Its process is not known to have ended.
    assert rig.broker is old
    assert rig.forks.given == [rig.histories.of(SIZE)]


def test_one_that_was_not_asked_for_yet_is_forgotten(rig: Rig) -> None:
    rig.brokers.tick(0.0)
    unborn = rig.broker
    assert unborn is not None
    rig.brokers.renew(1.0)
    assert rig.forks.unsent == []
    assert not unborn.open
    rig.ends(unborn, 1.0)
    rig.brokers.tick(1.0)
    assert rig.is_forked().number == 2


@pytest.mark.parametrize("why", ["a restart", "it takes too long"])
def test_one_that_may_just_begin_is_waited_for(rig: Rig, why: str) -> None:
    # If its channel were closed now, the next one could be there together with it.
    rig.brokers.tick(0.0)
    broker = rig.is_forked(says_pid=False)
    now = TIMING.start_limit
    if why == "a restart":
        rig.brokers.renew(now)
    for _ in range(5):
        rig.brokers.tick(now)
        now = rig.brokers.due() or 0.0
        assert broker.open
    rig.says_pid(broker)
    rig.brokers.tick(now)
    assert rig.killed == [1]
    assert not broker.open


def test_a_new_one_that_ends_fails_the_restart_with_its_last_words(rig: Rig) -> None:
    rig.brokers.tick(0.0)
    old = rig.becomes_ready()
    rig.editions.edition = 2
    rig.brokers.renew(1.0)
    rig.ends(old, 1.0)
    rig.brokers.tick(1.0)
    new = rig.is_forked()
    new.kill_reason = "no history"
    rig.ends(new, 2.0)
    assert rig.brokers.renewal == "the new broker: killed: no history"
    rig.editions.edition = 1
    rig.brokers.revert(2.0)
    rig.brokers.tick(2.0)
    assert rig.becomes_ready().number == 3
    assert rig.brokers.renewal == ""


def test_what_the_system_refuses_fails_a_restart_and_nothing_else(rig: Rig) -> None:
    rig.brokers.tick(0.0)
    rig.ends(rig.becomes_ready(), 1.0)
    rig.forks.refuses = True
    rig.brokers.renew(1.0)
    rig.brokers.tick(1.0)
    assert rig.brokers.renewal == "the system refuses what a broker needs: Too many open files"
    rig.forks.refuses = False
    due = rig.brokers.due()
    assert due is not None
    rig.brokers.tick(due)
    rig.becomes_ready()


def test_going_back_replaces_a_broker_of_the_new_code_only(rig: Rig) -> None:
    rig.brokers.tick(0.0)
    broker = rig.becomes_ready()
    rig.brokers.revert(1.0)
    assert rig.told(1) == []
    broker.edition = 2
    rig.brokers.revert(1.0)
    assert rig.told(1) == [messages.Stop()]


def test_without_rooms_the_broker_ends_once_the_restart_is_settled(rig: Rig) -> None:
    rig.brokers.tick(0.0)
    broker = rig.becomes_ready()
    rig.editions.current.plan.history = None
    rig.brokers.tick(0.5)
    assert rig.told(1) == []
    rig.brokers.settle(1.0)
    assert rig.told(1) == [messages.Stop()]
    assert rig.histories.of(SIZE) is None
    rig.ends(broker, 1.0)
    rig.brokers.tick(1.0)
    assert (rig.broker, rig.brokers.due(), rig.state()) == (None, None, "none")


def test_a_broker_whose_loop_stands_still_is_ended(rig: Rig) -> None:
    rig.brokers.tick(0.0)
    rig.becomes_ready()
    now, beats = 100.0, 0
    while now < 110.0:
        beats += 1
        rig.board.set_broker("heartbeat", beats)
        rig.board.set_broker("beat_at", int(now * 1000))
        rig.brokers.tick(now)
        now += 0.25
    assert rig.killed == []
    while rig.killed == []:
        rig.brokers.tick(now)
        now += 0.25
    assert 112.0 <= now <= 113.0
    # It has a moment to write its stack.
    due = rig.brokers.due()
    assert due is not None
    rig.brokers.tick(due)
    assert rig.killed == [1, 1]
