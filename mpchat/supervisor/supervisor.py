"""One service, from the command that starts it to the exit code that it leaves with.

Rules. There are two lives, one after the other: ``Boot`` until the first plan, ``Service`` from then on.
No process and no socket file of the service outlives the supervisor.
"""

from __future__ import annotations

import os
import time
from functools import partial

from mpchat.errors import ExitCode, StartError
from mpchat.ipc import messages
from mpchat.linux.processes import become_subreaper
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.supervisor.boot import Boot
from mpchat.supervisor.child import Child
from mpchat.supervisor.editions import Loaded
from mpchat.supervisor.family import Family
from mpchat.supervisor.faults import Faults
from mpchat.supervisor.folder import started_in
from mpchat.supervisor.heartbeats import LOOK_SECONDS
from mpchat.supervisor.log import Log
from mpchat.supervisor.loop import Loop, Step
from mpchat.supervisor.orphans import Orphans
from mpchat.supervisor.service import Service
from mpchat.supervisor.signals import Signals
from mpchat.supervisor.systemd import ServiceManager
from mpchat.supervisor.timing import Timing

_PLAN_DESCRIPTORS = 3
"""Descriptors of the first plan: the static config files, a generation, and its certificates"""


class Supervisor:
    """One service: the parts that both of its lives use.

    Raises:
        OSError: The system refuses what any service needs.
    """

    def __init__(self, command: list[str], timing: Timing | None = None) -> None:
        self._command = command
        self._home = started_in(os.environ)
        self._timing = timing or Timing()
        self._log = Log()
        self._faults = Faults(self._log)
        self._manager = ServiceManager(os.environ)
        self._signals = Signals()
        self._scoreboard = Scoreboard.create()
        self._scoreboard.set_service("pid", os.getpid())
        self._family = Family(self._log, self._faults, self._on_message)
        self._orphans = Orphans(self._family, self._log)
        self._service: Service | None = None
        self._boot = Boot(
            command,
            self._timing,
            self._log,
            self._manager,
            self._family,
            self._serve,
            time.monotonic(),
        )
        self._next_look = 0.0
        look = Step("look around", lambda: self._next_look, self._look)
        self._loop = Loop(self._signals, self._family, self._faults, (look,), self._boot)

    def run(self) -> int:
        """Serve until asked to stop; return the exit code."""
        exit_code: int | None = None
        if not self._faults.attempt("adopt orphans", become_subreaper):
            # Without that no exit status of a worker would ever come.
            exit_code = ExitCode.OS
        while exit_code is None:
            self._faults.attempt("go through a turn of the loop", self._loop.turn)
            exit_code = self._loop.life.exit_code
            self._scoreboard.set_service("faults", self._faults.count)
            if self._faults.end_turn(time.monotonic()):
                self._log.error("the supervisor cannot go on: the service ends")
                self._family.say_goodbye(self._timing.now_limit)
                exit_code = ExitCode.SOFTWARE
        self._end()
        return exit_code

    def _serve(self, plan: messages.Plan, descriptors: list[int], now: float) -> None:
        """Go over to the second life.

        Raises:
            StartError: The service cannot be started.
        """
        if len(descriptors) != _PLAN_DESCRIPTORS:
            text = "there is no descriptor left to take what the template has loaded"
            raise StartError(text, ExitCode.OS)
        static_config, memfd, certificates = descriptors
        self._loop.life = self._service = Service(
            self._command,
            self._home,
            self._timing,
            self._log,
            self._manager,
            self._scoreboard,
            self._family,
            self._orphans,
            self._boot.succession,
            Loaded(plan, static_config, memfd, certificates, os.path.realpath(self._home)),
            now,
        )
        self._service.start(now)
        while self._boot.early:
            self._signals.put_back(self._boot.early.pop())

    def _on_message(
        self, child: Child, message: messages.Message, descriptors: list[int], now: float
    ) -> None:
        self._loop.life.on_message(child, message, descriptors, now)

    def _look(self, now: float) -> None:
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._scoreboard.set_service("beat_at", int(now * 1000))
            self._family.watch()
            self._family.kill_unreachable(now - self._timing.unreachable_limit)

    def _end(self) -> None:
        """Leave nothing behind: no process, no zombie, no socket file."""
        attempt = self._faults.attempt
        attempt("hold back signals", self._signals.close)
        limit = self._timing.now_limit
        attempt("end all processes", partial(self._family.end, limit))
        attempt("end orphans", partial(self._orphans.end, limit, self._family.reap))
        if self._service is not None:
            self._service.close(self._faults)
