"""One service for the tests of a module that only talk to it.

Rules. A test that is marked ``shared_service`` gets the running service of its module if that has the
same command and config. It begins with the dynamic config of the file and an empty log. A test that
signals the service, counts its processes, or reads numbers that others add to is not marked.
"""

from __future__ import annotations

from pathlib import Path

from mpchat.testsuite.service import Service


class SharedService(Service):
    """Shows of its log what came since the running test began."""

    begin = 0

    def stderr(self) -> str:
        """Return what the service has written to stderr during this test."""
        return super().stderr()[self.begin :]

    def begin_test(self) -> None:
        """Read the dynamic config of the file again, and forget the log."""
        self.reload()
        self.begin = len(super().stderr())


class Shared:
    """The service of a module; another one when a test asks for another config."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._service: SharedService | None = None
        self._asked: object = None

    def get(self, command: list[str], config: Path, failures: int) -> Service:
        """Return a service of this command.

        ``failures`` is how many tests have failed so far: each may have left a wreck.
        """
        asked = (command, config.read_text(), failures)
        if self._service is not None and self._asked == asked:
            self._service.begin_test()
        else:
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
