"""The supervisor's own log lines: written at once, but only if the log takes them without blocking.

Rules. Never waits: a full pipe costs the line, and the next line that goes through reports how many were
lost. Until the plan says where and how the service logs, lines go to stderr as they are. A text of
several lines, such as a worker's traceback, becomes as many log lines, so that none of it is cut; in the
format ``text`` they are lines of a traceback.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from mpchat.errors import ExitCode, StartError, describe_os_error
from mpchat.linux import system
from mpchat.loglines.file import DirectLog
from mpchat.loglines.line import timestamp

_BLOCK_CHARACTERS = 2000
"""Characters of a traceback that are written at once: few enough to fit, even if many are escaped."""
_MARK_CHARACTERS = 12
_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
LOGGER = "mpchat.supervisor"
"""What lines name as their logger"""


class Log:
    """The supervisor's own log.

    Attributes:
        generation: Returns the number of the current dynamic config; 0 before there is one.
        level: Lines below it are left out; a number of ``logging``.
        listener: Is given the level and the text of what is INFO or above, whatever the log takes of it.
    """

    def __init__(self) -> None:
        self.generation: Callable[[], int] = lambda: 0
        self.listener: Callable[[str, str], None] = lambda _level, _text: None
        self.level = self._own_level = _LEVELS["INFO"]
        self._ordered: int | None = None
        self._forced: int | None = None
        self._format = "raw"
        self._direct = DirectLog("@stderr", self._format)

    def follow(self, path: str, log_format: str, level: int) -> None:
        """Log as the plan says.

        Raises:
            StartError: The file cannot be opened.
        """
        direct = DirectLog(path, log_format)
        try:
            direct.file.open()
        except OSError as error:
            text = f"cannot write the log {path}: {describe_os_error(error)}"
            raise StartError(text, ExitCode.CONFIG) from error
        self._direct.file.close()
        self._direct, self._format = direct, log_format
        self._own_level = level
        self._follow_orders()

    def order(self, level: int | None) -> None:
        """Set the level that an operator wants; None: the plan's again."""
        self._ordered = level
        self._follow_orders()

    def force(self, level: int | None) -> None:
        """Set a level that counts more than any other; None: the others count again."""
        self._forced = level
        self._follow_orders()

    def reopen(self) -> str:
        """Open the log's path again; return why that failed, or nothing."""
        trouble = self._direct.file.reopen()
        if trouble is not None:
            self.error(trouble)
        return trouble or ""

    def debug(self, text: str) -> None:
        self._write("DEBUG", text)

    def info(self, text: str) -> None:
        self._write("INFO", text)

    def warning(self, text: str) -> None:
        self._write("WARNING", text)

    def error(self, text: str) -> None:
        self._write("ERROR", text)

    def _follow_orders(self) -> None:
        wanted = (self._forced, self._ordered, self._own_level)
        self.level = next(level for level in wanted if level is not None)

    def _write(self, level: str, text: str) -> None:
        if _LEVELS[level] >= _LEVELS["INFO"]:
            self.listener(level, text)
        if _LEVELS[level] < self.level:
            return
        fields: dict[str, str | int] = {
            "timestamp": timestamp(time.time()),
            "level": level,
            "module": LOGGER,
            "pid": os.getpid(),
            "worker": "supervisor",
            "generation": self.generation(),
        }
        first, *more = text.splitlines() or [""]
        if self._format == "text":
            for head, block in _blocks(first, more):
                self._direct.write(fields, head, block)
            return
        for line in (first, *more):
            self._direct.write(fields, line)


def _blocks(first: str, more: list[str]) -> Iterator[tuple[str, str]]:
    """Return texts with tracebacks, none of which is long enough to be cut."""
    head, block, size = first, list[str](), 0
    for line in more:
        if size + len(line) > _BLOCK_CHARACTERS and block:
            yield head, "\n".join(block)
            head, block, size = "(continued)", [], 0
        block.append(line)
        size += len(line) + _MARK_CHARACTERS
    yield head, "\n".join(block)


def say(text: str) -> None:
    """Print an error for whoever started the service, before there is a log."""
    line = (text.rstrip("\n") + "\n").encode("utf-8", "backslashreplace")
    with contextlib.suppress(OSError):
        # If nobody reads stderr any more, the exit code still tells.
        system.write(2, line)
