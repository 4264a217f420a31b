"""Lets one system call of one process of a service fail, or writes down all that there are.

Python imports this module first in each process, since its folder is in PYTHONPATH. It replaces the
names in ``mpchat.linux.system``; the product knows nothing of it. The variable MPCHAT_INJECTION holds a
JSON object:

    {"record": FILE}            write a line for each call: role, name, site
    {"role": …, "name": …, "site": …, "occurrence": N, "errno": E, "hit": FILE}

The N-th call of that name from that site (file and line) in a process of that role fails, in the first
process that gets so far; what was hit is written into the file. Errno 0 is MemoryError; with -1 the
process ends there, which no test may miss. Names of handlers begin with "enter ": they fail before their
first line.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import types
from collections import Counter
from collections.abc import Callable
from typing import Any

VARIABLE = "MPCHAT_INJECTION"
_ROOT = "/mpchat/"
_SEAM = "/mpchat/linux/"
_DEAD = 99
# What closes a descriptor or ends a wait has done so, whatever it says.
_ACTS_ALL_THE_SAME = {"close", "close_socket"}


class Agent:
    """What is counted in this process, and what is to fail."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.role = ""
        """Nothing is counted before the process has one"""
        self.pid = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.open, self.write, self.close = os.open, os.write, os.close

    def begin(self, role: str) -> None:
        """Count from here on, as a process of this kind."""
        self.role, self.pid = role, os.getpid()
        self.counts.clear()

    def fails(self, name: str, site: str) -> bool:
        """Count a call; return whether it is the one that has to fail."""
        if not self.role:
            return False
        if self.pid != os.getpid():
            # Forked, and not yet what it is to be.
            self.begin(f"child of {self.role}")
        self.counts[name, site] += 1
        if record := self.order.get("record"):
            self.append(record, f"{self.role}\t{name}\t{site}\n", os.O_APPEND)
            return False
        order = self.order
        wanted = (order["role"], order["name"], order["site"], order["occurrence"])
        if (self.role, name, site, self.counts[name, site]) != wanted:
            return False
        try:
            self.append(order["hit"], f"pid {self.pid}\n", os.O_EXCL)
        except FileExistsError:
            return False
        return True

    def append(self, path: str, line: str, flag: int) -> None:
        """Write a line past all that is replaced."""
        descriptor = self.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flag, 0o644)
        self.write(descriptor, line.encode())
        self.close(descriptor)

    def error(self) -> BaseException:
        """Return what the call raises."""
        number = self.order["errno"]
        if number < 0:
            os._exit(_DEAD)
        return OSError(number, os.strerror(number)) if number else MemoryError()


def _site() -> str:
    """Return file and line of the nearest caller outside of the seam."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None and _SEAM in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is None or _ROOT not in frame.f_code.co_filename:
        return "elsewhere"
    return f"{frame.f_code.co_filename.rpartition(_ROOT)[2]}:{frame.f_lineno}"


def _wrap(agent: Agent, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call, assigned=("__name__", "__doc__"), updated=())
    def replaced(*given: Any, **named: Any) -> Any:
        if agent.fails(name, _site()):
            if name in _ACTS_ALL_THE_SAME:
                call(*given, **named)
            raise agent.error()
        return call(*given, **named)

    return replaced


def _wrap_handler(agent: Agent, owner: Any, name: str) -> None:
    handler = getattr(owner, name)

    @functools.wraps(handler)
    def replaced(*given: Any, **named: Any) -> Any:
        words = [
            type(item).__name__ for item in given if type(item).__module__ == "mpchat.ipc.messages"
        ]
        if agent.fails("enter " + name, " ".join([owner.__name__, *words])):
            raise agent.error()
        return handler(*given, **named)

    setattr(owner, name, replaced)


def _begins(agent: Agent, owner: Any, name: str, role: str) -> None:
    """From the first line of this function on the process has this role."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def replaced(*given: Any, **named: Any) -> Any:
        agent.begin(role)
        return function(*given, **named)

    setattr(owner, name, replaced)


def _replace_calls(agent: Agent) -> None:
    from mpchat.linux import system

    for name, call in vars(system).items():
        public = not name.startswith("_") and callable(call)
        if public and name not in _NO_CALLS:
            setattr(system, name, _wrap(agent, name, call))


_NO_CALLS = {"Any", "Callable"}
_HANDLERS = ("on_", "_on_", "tick", "_tick_", "_look", "_serve", "_stop")


def main() -> None:
    """Find out which process this is."""
    agent = Agent(json.loads(os.environ[VARIABLE]))
    if "mpchat.supervisor" in sys.orig_argv[:5]:
        _replace_calls(agent)
        from mpchat.supervisor.boot import Boot
        from mpchat.supervisor.brokers import Brokers
        from mpchat.supervisor.monitors import Monitors
        from mpchat.supervisor.pairs import Pairs
        from mpchat.supervisor.reloading import Reloading
        from mpchat.supervisor.service import Service
        from mpchat.supervisor.supervisor import Supervisor

        _begins(agent, Supervisor, "run", "supervisor")
        for owner in (Supervisor, Boot, Service, Monitors, Brokers, Pairs, Reloading):
            for name in vars(owner).copy():
                if name.startswith(_HANDLERS):
                    _wrap_handler(agent, owner, name)
    elif "MPCHAT_TEMPLATE_CHANNEL" in os.environ:
        _replace_calls(agent)
        from mpchat.broker import process
        from mpchat.template import template

        _begins(agent, template, "run_template", "template")
        _begins(agent, template, "run_monitor", "monitor")
        _begins(agent, template, "run_worker", "worker")
        _begins(agent, process, "run_broker", "broker")


if VARIABLE in os.environ:
    main()
