"""The supervisor's own log lines: written directly, after a look whether the file takes them.

Rules. Never waits: a full pipe costs the line, and the next line that goes through says how many were
lost. Plain lines to stderr until the plan says where the service logs; then the same place and tskv.
The flags of an inherited stderr are never changed, it belongs to others, too.
"""

from __future__ import annotations

import os
import select
import sys
import time

from mpchat.errors import ExitCode, StartError, describe_os_error
from mpchat.ipc.logline import timestamp, to_line, tskv

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_STANDARD = {"@stderr": 2, "@stdout": 1}


class Log:
    """Where the supervisor says what it does."""

    def __init__(self) -> None:
        self._descriptor = 2
        self._level = 20
        self._plain = True
        self._dropped = 0

    def follow(self, path: str, log_format: str, level: int) -> None:
        """Log from now on as the plan says.

        Raises:
            StartError: The file cannot be opened.
        """
        if path == "@null":
            self._level = 1000
            return
        if path in _STANDARD:
            self._descriptor = _STANDARD[path]
        else:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            try:
                self._descriptor = os.open(path, flags, 0o644)
            except OSError as error:
                reason = describe_os_error(error)
                raise StartError(
                    f"cannot write the log {path}: {reason}", ExitCode.CONFIG
                ) from error
        self._level = level
        self._plain = log_format == "raw"

    def debug(self, text: str) -> None:
        self._write("DEBUG", text)

    def info(self, text: str) -> None:
        self._write("INFO", text)

    def warning(self, text: str) -> None:
        self._write("WARNING", text)

    def error(self, text: str) -> None:
        self._write("ERROR", text)

    def _write(self, level: str, text: str) -> None:
        if LEVELS[level] < self._level:
            return
        if self._dropped:
            lost, self._dropped = self._dropped, 0
            self._write("WARNING", f"{lost} log lines lost: the log did not take them")
        if self._plain:
            line = text
        else:
            line = tskv(
                {
                    "timestamp": timestamp(time.time()),
                    "level": level,
                    "module": "mpchat.supervisor",
                    "pid": os.getpid(),
                    "worker": "supervisor",
                    "text": text,
                }
            )
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        try:
            if not poller.poll(0):
                self._dropped += 1
                return
            os.write(self._descriptor, to_line(line))
        except OSError:
            self._dropped += 1


def say(text: str) -> None:
    """Print an error for whoever started the service, before there is a log."""
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()
