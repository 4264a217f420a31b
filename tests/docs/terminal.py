"""A person at a terminal, who types what a page says and waits for what it shows.

Rules. ``python3`` is there what runs the tests, wherever that is and whatever else has this name.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

_DEADLINE = 600.0
"""Seconds that a step may take: one of them installs packages and compiles, beside other tests."""
_CONTROLS = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[78])|\r")


class Terminal:
    """A shell on a terminal of its own, at home in ``home``."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._master, slave = pty.openpty()
        path = f"{_python3_in(home / 'bin')}:{os.environ['PATH']}"
        environment = {**os.environ, "HOME": str(home), "PATH": path, "PS1": ""}
        # To compile all packages is a sixth of what a page costs, and most of them are never imported.
        environment["PIP_NO_COMPILE"] = "1"
        # Those are of the environment that the tests run in.
        for name in ("VIRTUAL_ENV", "PYTEST_ADDOPTS", "NOTIFY_SOCKET"):
            environment.pop(name, None)
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self._unseen = ""
        self._shown = ""
        self._commands = 0
        self.type("stty -echo\n")
        self.finish()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for a line, or a part of one; what came before it is not looked at again.

        Raises:
            TimeoutError: It did not come; says what did.
        """
        end = time.monotonic() + _DEADLINE
        while (found := re.search(pattern, self._unseen)) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"no {pattern!r} on the terminal:\n{self._shown}")
            if select.select([self._master], [], [], 0.1)[0]:
                text = _CONTROLS.sub("", os.read(self._master, 65_536).decode(errors="replace"))
                self._unseen += text
                self._shown += text
        self._unseen = self._unseen[found.end() :]
        return found

    def finish(self) -> int:
        """Wait until the shell has ended what was typed, and return its exit status."""
        self._commands += 1
        self.type(f"echo status-{self._commands}-$?\n")
        return int(self.wait_for(rf"status-{self._commands}-(\d+)")[1])

    def follow(self, session: str) -> None:
        """Type the lines that begin with ``$`` or ``>``, and wait for all others."""
        for line in session.splitlines():
            sign, _, rest = line.partition(" ")
            if sign == "$":
                self.finish()
                self.type(rest + "\n")
            elif sign == ">":
                self.type("\x04" if rest == "^D" else rest + "\n")
            else:
                self.wait_for(re.sub(r"pid\\ \d+", r"pid\ \\d+", re.escape(line)))
        self.finish()

    def close(self) -> None:
        """End the shell and what it runs."""
        children = Path(f"/proc/{self._shell.pid}/task/{self._shell.pid}/children").read_text()
        for pid in children.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
        self._shell.kill()
        self._shell.wait()
        os.close(self._master)


def _python3_in(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    command = folder / "python3"
    # No link: the interpreter of an environment knows it by its own place.
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    command.chmod(0o755)
    return folder
