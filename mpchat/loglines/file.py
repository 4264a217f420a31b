"""The destination of one log's lines: a standard stream, a file, or nowhere.

Rules. A write never waits: ``ready`` says whether the log would take a line now. A pipe that polls as
writable has room for a line (4,096 bytes are PIPE_BUF). An inherited pipe or terminal is opened again
without blocking, if the system allows, since another process may fill it between poll and write. The
flags of an inherited descriptor never change, because other processes share them. Files are opened for
appending, so moving or truncating one tears no line; ``reopen`` opens the file that is now at the path. A
full disk may take a part of a line, which is then cut off; while writes fail, our processes lock the file
for each write, so that none writes behind such a part.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
from dataclasses import dataclass, field

from mpchat.errors import describe_os_error
from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.loglines.line import Fields, to_line
from mpchat.loglines.readable import encoder

NOT_TAKEN = "the log took no more"
"""The reason for losing a line that would have had to wait."""

_NOWHERE = "@null"
_STANDARD = {"@stderr": 2, "@stdout": 1}
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MODE = 0o644
_LOCKED_WRITES = 100
"""Writes after a failed one that lock the file."""


class LogFile:
    """One log; its file is opened by ``open``, or by the first line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        self._is_file = False
        self._locked_writes = 0

    def open(self) -> None:
        """Open the file, if it is not open yet.

        Raises:
            OSError: The file cannot be opened; each write tries again.
        """
        if self._descriptor >= 0 or self.path == _NOWHERE:
            return
        standard = _STANDARD.get(self.path)
        if standard is not None:
            self._descriptor = _open_once_more(standard)
        else:
            self._descriptor = system.open(self.path, _FLAGS | os.O_CREAT, _MODE)
        try:
            self._is_file = _is_file(self._descriptor)
        except OSError:
            self.close()
            raise

    def ready(self) -> bool:
        """Return whether a write would not wait: it succeeds or fails at once."""
        if not self.can_be_full:
            return True
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        return bool(system.poll(poller, 0))

    @property
    def can_be_full(self) -> bool:
        """Whether writing may have to wait, as with a pipe or a terminal."""
        return self._descriptor >= 0 and not self._is_file

    def fileno(self) -> int:
        return self._descriptor

    def write(self, lines: bytes) -> None:
        """Write whole lines of together at most ``LINE_BYTES``.

        Raises:
            BlockingIOError: The write would have to wait.
            OSError: The lines are not written, for example because the disk is full.
        """
        if self.path == _NOWHERE:
            return
        self.open()
        is_locked = self._locked_writes > 0 and self._lock()
        try:
            self._write(lines)
            self._locked_writes = max(0, self._locked_writes - 1)
        except BlockingIOError:
            raise
        except OSError:
            self._locked_writes = _LOCKED_WRITES
            raise
        finally:
            if is_locked:
                system.flock(self._descriptor, fcntl.LOCK_UN)

    def reopen(self) -> str | None:
        """Open the file that is now at the path, or create it; a standard stream stays.

        If that fails, keep the old file and return the error's text, else return None.
        """
        if self._descriptor < 0 or self.path in _STANDARD:
            return None
        old, self._descriptor = self._descriptor, -1
        try:
            self.open()
        except OSError as error:
            self._descriptor = old
            reason = describe_os_error(error)
            return f"cannot reopen the log {self.path}: {reason}; still writing to the old file"
        _close(old)
        return None

    def close(self) -> None:
        """Close the descriptor, unless it is that of a standard stream."""
        _close(self._descriptor)
        self._descriptor = -1

    def _write(self, lines: bytes) -> None:
        written = system.write(self._descriptor, lines)
        while written < len(lines):
            if self._is_own_file():
                self._take_back(written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # A terminal or a socket has taken a part; the rest must follow.
            written += system.write(self._descriptor, lines[written:])

    def _take_back(self, written: int) -> None:
        """Cut off the part of a line that a full disk took, unless another process wrote behind it."""
        end = system.lseek(self._descriptor, 0, os.SEEK_CUR)
        if system.fstat(self._descriptor).st_size == end:
            system.ftruncate(self._descriptor, end - written)

    def _lock(self) -> bool:
        """Lock the file for one write; return False if it cannot be locked.

        Raises:
            BlockingIOError: Another of our processes is writing.
        """
        if not self._is_own_file():
            return False
        try:
            system.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            return False
        return True

    def _is_own_file(self) -> bool:
        return self._is_file and self.path not in _STANDARD


def _close(descriptor: int) -> None:
    if descriptor not in {-1, *_STANDARD.values()}:
        fds.close(descriptor)


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(system.fstat(descriptor).st_mode)


def _open_once_more(descriptor: int) -> int:
    """Return a new descriptor of a standard stream, with its own flags, or else the stream's own."""
    if _is_file(descriptor):
        # The processes that write to it share its offset; a second open would not.
        return descriptor
    try:
        return system.open(f"/proc/self/fd/{descriptor}", _FLAGS)
    except OSError:
        # A socket, or another user's pipe: the poll before each line must suffice.
        return descriptor


@dataclass
class Losses:
    """The lost lines that a log has not reported yet."""

    _count: int = 0
    _reasons: dict[str, None] = field(default_factory=dict)

    def add(self, count: int, reason: str) -> None:
        """Note lost lines."""
        self._count += count
        self._reasons[reason] = None

    def text(self) -> str | None:
        """Return the report, or None if nothing was lost."""
        if not self._count:
            return None
        lines = "1 log line was" if self._count == 1 else f"{self._count} log lines were"
        return f"{lines} lost: {', '.join(self._reasons)}"

    def reported(self) -> None:
        """Forget the losses; the log has reported them."""
        self._count = 0
        self._reasons.clear()


class DirectLog:
    """A log without queue and thread, for processes of one thread, which must not wait.

    A line that the file does not take is lost. A report of the losses precedes the next line that it
    takes.
    """

    def __init__(self, path: str, log_format: str) -> None:
        self.file = LogFile(path)
        self._losses = Losses()
        self._encode = encoder(log_format, path)

    def write(self, fields: Fields, text: str, traceback: str = "") -> None:
        """Write one line if the file takes it without waiting."""
        lost = self._losses.text()
        if lost is not None and self._refusal({**fields, "level": "WARNING"}, lost, "") is None:
            self._losses.reported()
        refusal = self._refusal(fields, text, traceback)
        if refusal is not None:
            self._losses.add(1, refusal)

    def _refusal(self, fields: Fields, text: str, traceback: str) -> str | None:
        """Write a line and return None, or return why it was not written."""
        try:
            if not self.file.ready():
                return NOT_TAKEN
            self.file.write(to_line(self._encode, fields, text, traceback))
        except BlockingIOError:
            return NOT_TAKEN
        except OSError as error:
            return describe_os_error(error)
        return None
