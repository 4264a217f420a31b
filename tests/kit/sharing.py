"""One service for the tests of a module that leave it as they found it.

Rules. A test that is marked ``shared_service`` gets the running service of its module if that has the
same command, config and code, and no client any more. All processes are there then, its dynamic config is
that of the file, and its log is empty. Such a test may kill what is started again, and may end the
service. It compares counts and generations with those at its beginning, since others have added to them.
"""

from __future__ import annotations

import time
from pathlib import Path

from mpchat.ipc.control import ControlError
from mpchat.loglines.line import timestamp
from mpchat.testsuite.service import Service, wait_until
from tests.kit.control import Control

_TIMED = "tskv\ttimestamp="
_FAREWELL = 5.0
"""Seconds within which the connections of a test end; a service that keeps one is not shared further."""


class SharedService(Service):
    """Shows of its log what was logged since the running test began."""

    begin = 0
    begun = ""
    children_at_start = 0

    def stderr(self) -> str:
        """Return what the service has written to stderr about this test.

        Workers write lines a moment after they log them, so those of an earlier test may come late.
        """
        lines = super().stderr()[self.begin :].splitlines(keepends=True)
        return "".join(line for line in lines if not self._is_older(line))

    def begin_test(self) -> None:
        """Wait for all processes, read the dynamic config of the file, forget the log."""
        wait_until(self._is_whole, f"{self.children_at_start} children, as at the start")
        # One that a test has had replaced is there before it is ready.
        ready = f"{len(self.pids('worker'))} workers ready"
        wait_until(lambda: self.reload().startswith(ready), ready)
        self.begun = timestamp(time.time())
        self.begin = len(super().stderr())

    def loses_clients(self) -> bool:
        """Wait for the end of the last test's connections; return whether they end.

        They do not while a handler goes on without its client.
        """
        try:
            wait_until(self._has_no_clients, "end of the last test's connections", _FAREWELL)
        except TimeoutError:
            return False
        return True

    def _is_older(self, line: str) -> bool:
        return line.startswith(_TIMED) and line.removeprefix(_TIMED) < self.begun

    def _has_its_console(self) -> bool:
        console = self._control().status()["console"]
        return console is None or console["state"] == "ready"

    def _control(self) -> Control:
        return Control(self.stderr_path.parent / "control.sock")

    def _has_no_clients(self) -> bool:
        try:
            return self._control().totals()["sockets"] == 0
        except ControlError:
            # A monitor that a test has had replaced is there before it answers.
            return False

    def _is_whole(self) -> bool:
        titles = list(self.children().values())
        return len(titles) == self.children_at_start == len(set(titles))

    def wait_ready(self) -> None:
        super().wait_ready()
        # A service is ready without its console.
        wait_until(self._has_its_console, "a ready console")
        self.children_at_start = len(self.children())


class Shared:
    """The service of a module; another one when a test asks for another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._service: SharedService | None = None
        self._asked: object = None

    def get(self, command: list[str], config: Path, failures: int) -> Service:
        """Return a service of this command.

        ``failures`` is how many tests have failed so far: each may have left a wreck.
        """
        code = {path.name: path.read_text() for path in self.folder.glob("*.py")}
        asked = (command, config.read_text(), code, failures)
        service = self._service
        if (
            service is not None
            and self._asked == asked
            and service.process.poll() is None
            and service.loses_clients()
        ):
            service.begin_test()
            return service
        self.close()
        self._asked = asked
        self._service = SharedService(command, self.folder)
        self._service.wait_ready()
        return self._service

    def close(self) -> None:
        """End it."""
        if self._service is not None:
            self._service.close()
            self._service = None
