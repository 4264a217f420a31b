"""What monitors are told of the certificates, whoever of them is there."""

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
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.family import Family
from mpchat.supervisor.faults import Faults
from mpchat.supervisor.log import Log
from mpchat.supervisor.monitors import Monitors
from mpchat.supervisor.timing import Timing

OLD, NEW = [{"subject": "old"}], [{"subject": "new"}]


@dataclass
class FakeForks:
    """Keeps the children that were asked for, and the other ends of their channels."""

    made: list[Child] = field(default_factory=list)
    ends: list[Channel] = field(default_factory=list)

    def request_monitor(self, _sockets: object, _control: int | None) -> Child:
        near, far = Channel.pair()
        self.made.append(Child("monitor", Role.MONITOR, near, number=len(self.made)))
        self.ends.append(Channel(far))
        return self.made[-1]

    def flush(self) -> None:
        pass


class Rig:
    """Monitors without processes."""

    def __init__(self) -> None:
        log = Log()
        self.forks = FakeForks()
        self.generation = SimpleNamespace(shown=OLD)
        self.family = Family(log, Faults(log), lambda *_given: None)
        forks: Any = self.forks
        editions: Any = SimpleNamespace(current=SimpleNamespace(generation=self.generation))
        sockets: Any = SimpleNamespace()
        self.monitors = Monitors(Timing(), log, self.family, forks, editions, sockets, 0.0)

    def told(self, number: int) -> list[Any]:
        """Return what a monitor was told of certificates since the last look."""
        found = []
        while (received := messages.receive(self.forks.ends[number])) is not None:
            found.append(received[0])
        return [message.shown for message in found if isinstance(message, messages.Certificates)]

    def close(self) -> None:
        for child in self.forks.made:
            child.release()
        for end in self.forks.ends:
            end.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def test_a_monitor_finds_the_certificates_when_it_begins(rig: Rig) -> None:
    rig.monitors.tick(0.0)
    assert rig.told(0) == [OLD]
    assert rig.monitors.due() is None


def test_it_is_told_again_when_they_change_and_only_then(rig: Rig) -> None:
    rig.monitors.tick(0.0)
    rig.told(0)
    rig.generation.shown = [*OLD]
    assert rig.monitors.due() is None
    rig.generation.shown = NEW
    assert rig.monitors.due() == 0.0
    rig.monitors.tick(1.0)
    assert rig.told(0) == [NEW]
    assert rig.monitors.due() is None


def test_the_next_one_is_told_before_it_begins_and_what_has_changed_since(rig: Rig) -> None:
    rig.monitors.tick(0.0)
    rig.monitors.start_next(1.0)
    assert rig.told(1) == [OLD]
    rig.generation.shown = NEW
    rig.monitors.take_over(2.0)
    rig.monitors.tick(2.0)
    assert rig.told(1) == [NEW]


def test_one_in_place_of_another_is_told(rig: Rig) -> None:
    rig.monitors.tick(0.0)
    first = rig.forks.made[0]
    rig.family.forget(first)
    rig.monitors.ended(first, "killed", 1.0)
    due = rig.monitors.due()
    assert due is not None
    rig.monitors.tick(due)
    assert rig.told(1) == [OLD]


def test_what_the_system_refuses_is_told_later(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.monitors.tick(0.0)
    rig.told(0)
    rig.generation.shown = NEW

    def refuse(*_given: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monitor = rig.forks.made[0]
    with monkeypatch.context() as refusing:
        refusing.setattr(monitor, "send", refuse)
        rig.monitors.tick(1.0)
    later = rig.monitors.due()
    assert later is not None
    assert later > 1.0
    rig.monitors.tick(1.0)
    assert rig.told(0) == []
    rig.monitors.tick(later)
    assert rig.told(0) == [NEW]
