"""A command on a terminal whose screen can be looked at, as a person sees it."""

from __future__ import annotations

import fcntl
import re
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyte

from mpchat.testsuite.service import DEADLINE
from tests.kit.terminal import OnTerminal


class OnScreen(OnTerminal):
    """The command, on a screen of this size; use it as a context manager, which ends it."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        *,
        columns: int = 80,
        lines: int = 24,
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        super().__init__(command, folder, {"TERM": "xterm-256color", **(environment or {})})
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        """Give the screen another size; the kernel tells the command (SIGWINCH)."""
        self._screen.resize(lines, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    @property
    def lines(self) -> list[str]:
        """What is on the screen now, line by line."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def colours(self) -> set[str]:
        """Colours of the characters that are on the screen."""
        return {char.fg for line in self._screen.buffer.values() for char in line.values()}

    @property
    def marked(self) -> str:
        """The line that is shown in reverse, empty if none is."""
        for number, line in self._screen.buffer.items():
            if line[0].reverse:
                return self.lines[number]
        return ""

    def modes(self) -> list[Any]:
        """Return the terminal's modes (termios(3))."""
        return termios.tcgetattr(self.master)

    def wait_until_shows(self, pattern: str) -> re.Match[str]:
        """Wait until the screen shows this.

        Raises:
            TimeoutError: It does not; says what it shows.
        """
        end = time.monotonic() + DEADLINE
        while (found := re.search(pattern, "\n".join(self.lines), re.M)) is None:
            if time.monotonic() > end or not self._read():
                shown = "\n".join(self.lines)
                raise TimeoutError(f"no {pattern!r} on the screen:\n{shown}")
        return found

    def _take(self, read: bytes) -> None:
        super()._take(read)
        self._stream.feed(read)
