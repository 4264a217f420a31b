"""A command that controls a terminal: Ctrl-C reaches it, and it knows that a person reads."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from mpchat.testsuite.service import DEADLINE


class OnTerminal:
    """The command; use it as a context manager, which ends it.

    Attributes:
        master: The terminal's other end.
        shown: Everything that it has written.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.master, slave = pty.openpty()
        # They would tell of another terminal than this one.
        theirs = {"NO_COLOR", "COLUMNS", "LINES"}
        inherited = {name: value for name, value in os.environ.items() if name not in theirs}
        # Both replace themselves by the command, so that the pid is the command's. A background job of a
        # shell, which the tests may be, ignores Ctrl-C, and below nohup a hang-up; a command on a
        # terminal does not.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "env", "--default-signal=INT,QUIT,HUP", *command],
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**inherited, **(environment or {})},
        )
        os.close(slave)
        self.shown = ""
        self._seen = 0

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for a part of what it writes; what came before that is not looked at again.

        Raises:
            TimeoutError: It did not come; says what did.
        """
        end = time.monotonic() + DEADLINE
        while (found := re.compile(pattern).search(self.shown, self._seen)) is None:
            if time.monotonic() > end or not self._read():
                raise TimeoutError(f"no {pattern!r} on the terminal:\n{self.shown}")
        self._seen = found.end()
        return found

    def wait(self) -> int:
        """Wait for its end, and return its exit code.

        Raises:
            TimeoutError: It goes on.
        """
        end = time.monotonic() + DEADLINE
        while self._read():
            if time.monotonic() > end:
                raise TimeoutError(f"it goes on:\n{self.shown}")
        return self.process.wait(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                # It may have more to say than fits into the terminal.
                self.wait()
            except (TimeoutError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()
        os.close(self.master)

    def _read(self) -> bool:
        """Read what is there, after a moment; return False once the last process has closed it."""
        if select.select([self.master], [], [], 0.1)[0]:
            try:
                read = os.read(self.master, 65_536)
            except OSError:
                return False
            self._take(read)
        return True

    def _take(self, read: bytes) -> None:
        self.shown += read.decode(errors="replace").replace("\r\n", "\n")
