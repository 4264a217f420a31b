"""The console's succession, and what each of them is told."""

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
from mpchat.linux.memfd import sealed_memfd
from mpchat.metrics.memory import Memory
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.scoreboard.service import CONSOLE_STATES
from mpchat.supervisor.announcing import Announcer, Failure
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.consoles import Consoles
from mpchat.supervisor.editions import Generation
from mpchat.supervisor.family import Family
from mpchat.supervisor.faults import Faults
from mpchat.supervisor.log import Log
from mpchat.supervisor.timing import Timing

TIMING = Timing()


@dataclass
class FakeForks:
    """Keeps requests."""

    made: list[Child] = field(default_factory=list)
    ends: dict[int, Channel] = field(default_factory=dict)
    refuses: bool = False

    def request_console(self, _sockets: object) -> Child:
        if self.refuses:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        near, far = Channel.pair()
        child = Child("console", Role.CONSOLE, near, number=len(self.made))
        self.ends[child.number] = Channel(far)
        self.made.append(child)
        return child

    def flush(self) -> None:
        pass


class Rig:
    """Consoles without processes."""

    def __init__(self) -> None:
        log = Log()
        self.forks = FakeForks()
        self.board = Scoreboard.create()
        self.memfd = sealed_memfd("test", b"{}")
        self.certificates = sealed_memfd("test", b"{}")
        generation = Generation(1, self.memfd, self.certificates, [], 5.0)
        plan = SimpleNamespace(hang_timeout=2.0, config_service=None)
        current = SimpleNamespace(plan=plan, generation=generation)
        self.editions = SimpleNamespace(current=current, edition=1, generation=1)
        unused: Any = None
        editions: Any = self.editions
        self.announcer = Announcer(log, unused, self.board, editions, unused)
        self.sockets = SimpleNamespace(console=object())
        self.family = Family(log, Faults(log), lambda *_given: None)
        forks: Any = self.forks
        sockets: Any = self.sockets
        self.counting: list[Memory] = [Memory.create(())]
        memories: Any = SimpleNamespace(counting=lambda _current: tuple(self.counting))
        self.consoles = Consoles(
            TIMING,
            log,
            self.board,
            self.family,
            forks,
            editions,
            sockets,
            self.announcer,
            memories,
            0.0,
            lambda: 1000.0,
        )
        log.listener = self.consoles.note
        self.log = log
        self.killed: list[Child] = []

    def is_forked(self) -> Child:
        """The request has been sent, and the child has said its pid."""
        console = self.forks.made[-1]
        console.edition = self.editions.edition
        console.pid = 2**22 + console.number
        console.kill = lambda *_given: self.killed.append(console)  # type: ignore[method-assign]
        return console

    def becomes_ready(self) -> Child:
        console = self.is_forked()
        self.consoles.became_ready(console)
        return console

    def ends(self, console: Child, now: float) -> None:
        self.family.forget(console)
        self.consoles.ended(console, "killed", now)

    def told(self, console: Child) -> list[messages.Message]:
        found = []
        while (received := messages.receive(self.forks.ends[console.number])) is not None:
            found.append(received[0])
            for descriptor in received[1]:
                os.close(descriptor)
        return found

    def state(self) -> str:
        return CONSOLE_STATES[self.board.service("console_state")]

    def close(self) -> None:
        for child in self.forks.made:
            child.release()
        for end in self.forks.ends.values():
            end.close()
        for memory in self.counting:
            memory.close()
        os.close(self.memfd)
        os.close(self.certificates)
        self.board.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def texts(told: list[messages.Message]) -> list[str]:
    return [message.text for message in told if isinstance(message, messages.Event)]


def test_it_starts_at_once_and_is_told_what_happened_before(rig: Rig) -> None:
    rig.log.error("something before")
    rig.consoles.tick(1.0)
    assert rig.state() == "starting"
    console = rig.becomes_ready()
    rig.consoles.tick(1.1)
    assert rig.state() == "ready"
    said, *rest = rig.told(console)
    events = texts([said, *rest])
    assert events == ["something before", f"the console is ready, pid {console.pid}"]
    rig.log.warning("something after")
    assert texts(rig.told(console)) == ["something after"]


def test_it_is_told_of_each_generation_and_each_failure_once(rig: Rig) -> None:
    rig.consoles.tick(1.0)
    console = rig.becomes_ready()
    rig.consoles.tick(1.1)
    rig.consoles.tick(1.2)
    configs = [m for m in rig.told(console) if isinstance(m, messages.DynamicConfig)]
    assert configs == [messages.DynamicConfig(1, 5.0, {})]
    rig.announcer.failures["reload"] = Failure("a mistake", 7.0)
    assert rig.consoles.due() == 0.0
    rig.consoles.tick(1.3)
    (config,) = rig.told(console)
    assert isinstance(config, messages.DynamicConfig)
    assert config.failures == {"reload": {"text": "a mistake", "at": 7.0}}
    rig.editions.generation = 2
    rig.consoles.tick(1.4)
    assert len(rig.told(console)) == 1


def test_it_has_the_memories_of_metrics_before_it_is_forked_and_each_new_set(rig: Rig) -> None:
    rig.consoles.tick(1.0)
    console = rig.is_forked()
    assert rig.told(console) == [messages.MetricsMemories()]
    rig.consoles.tick(1.1)
    assert rig.told(console) == []
    rig.counting.insert(0, Memory.create(()))
    assert rig.consoles.due() == 0.0
    rig.consoles.tick(1.2)
    received = messages.receive(rig.forks.ends[console.number])
    assert received is not None
    message, descriptors = received
    assert message == messages.MetricsMemories()
    files = [os.fstat(descriptor).st_ino for descriptor in descriptors]
    assert files == [os.fstat(memory.descriptor).st_ino for memory in rig.counting]
    for descriptor in descriptors:
        os.close(descriptor)
    # The restart has failed: the old edition's goes first again.
    rig.counting.reverse()
    rig.consoles.tick(1.3)
    assert rig.told(console) == [messages.MetricsMemories()]


def test_what_the_system_refuses_to_tell_is_told_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.consoles.tick(1.0)
    console = rig.becomes_ready()
    rig.told(console)

    def refuse(*_given: object) -> None:
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    with monkeypatch.context() as patch:
        patch.setattr(console, "send", refuse)
        rig.log.listener = lambda *_given: None
        rig.consoles.tick(2.0)
    rig.consoles.tick(2.1)
    assert rig.told(console) == []
    rig.consoles.tick(2.0 + TIMING.max_backoff)
    assert len(rig.told(console)) == 1


def test_the_next_one_comes_after_the_backoff_and_knows_all(rig: Rig) -> None:
    rig.consoles.tick(1.0)
    console = rig.becomes_ready()
    rig.consoles.tick(1.1)
    rig.ends(console, 1.2)
    rig.consoles.tick(1.2)
    rig.consoles.tick(1.2 + TIMING.max_backoff)
    again = rig.becomes_ready()
    assert again is not console
    rig.consoles.tick(12.0)
    told = rig.told(again)
    assert any(isinstance(message, messages.DynamicConfig) for message in told)
    assert any("starting another" in text for text in texts(told))
    assert rig.board.service("console_restarts") == 1


def test_one_that_is_refused_is_tried_again(rig: Rig) -> None:
    rig.forks.refuses = True
    rig.consoles.tick(1.0)
    assert rig.state() == "down"
    rig.forks.refuses = False
    rig.consoles.tick(1.0 + TIMING.max_backoff)
    assert rig.state() == "starting"


def test_one_that_is_not_ready_in_time_is_killed(rig: Rig) -> None:
    rig.consoles.tick(1.0)
    console = rig.is_forked()
    rig.consoles.tick(1.1 + TIMING.start_limit)
    assert rig.killed == [console]


def test_a_restart_lets_it_end_and_starts_one_of_the_new_edition(rig: Rig) -> None:
    rig.consoles.tick(1.0)
    console = rig.becomes_ready()
    rig.consoles.follow_edition(2.0)
    assert rig.told(console)[-1:] != [messages.Stop()]
    rig.editions.edition = 2
    rig.consoles.follow_edition(2.1)
    rig.consoles.follow_edition(2.2)
    assert rig.told(console) == [messages.Stop()]
    rig.ends(console, 2.3)
    rig.consoles.tick(2.3)
    assert len(rig.forks.made) == 2


def test_one_that_does_not_end_for_a_restart_is_killed(rig: Rig) -> None:
    rig.consoles.tick(1.0)
    console = rig.becomes_ready()
    rig.editions.edition = 2
    rig.consoles.follow_edition(2.0)
    rig.consoles.tick(2.1 + TIMING.now_limit)
    assert rig.killed == [console]


def test_without_a_listener_there_is_none(rig: Rig) -> None:
    rig.sockets.console = None
    rig.consoles.tick(1.0)
    assert (rig.consoles.due(), rig.forks.made, rig.state()) == (None, [], "none")


def test_there_is_one_for_a_config_service_alone(rig: Rig) -> None:
    rig.sockets.console = None
    rig.editions.current.plan.config_service = {"first_limit": 1.0, "has_values": True}
    rig.consoles.tick(1.0)
    rig.becomes_ready()
    rig.consoles.tick(1.1)
    assert rig.state() == "ready"
