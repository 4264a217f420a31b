"""Where the lines of one log go: a standard stream, a file, or nowhere.

Rules. Nobody waits who writes here: ``ready`` says whether a line would be taken now. A pipe that polls
as writable has room for a line (4,096 bytes are PIPE_BUF); where the system lets us, a pipe or terminal
that was handed down is opened once more without blocking, since another process may fill it in between.
The flags of what was handed down are never changed: it belongs to others, too. A file is appended to,
so whoever moves or truncates it tears nothing; ``reopen`` begins the file that has been put in its place.
A full disk may take a part of a line, which is taken back; while writes fail our processes take turns,
lest one go on behind such a part.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
from dataclasses import dataclass, field

from mpchat.errors import describe_os_error
from mpchat.ipc.logline import FORMATS, Fields, to_line
from mpchat.linux import descriptors as fds
from mpchat.linux import system

NOT_TAKEN = "the log took no more"
"""Why a line is lost that would have had to wait."""

_NOWHERE = "@null"
_STANDARD = {"@stderr": 2, "@stdout": 1}
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MODE = 0o644
_TURNS = 100
"""So many writes after one that failed are made in turns."""


class LogFile:
    """One log; its file is opened by ``open``, or by the first line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        self._is_file = False
        self._turns = 0

    def open(self) -> None:
        """Open the file, if it is not open yet.

        Raises:
            OSError: It cannot be opened; each line that is written tries again.
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
        """Whether a line is taken now: written, or refused with an error."""
        if not self.can_be_full:
            return True
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        return bool(system.poll(poller, 0))

    @property
    def can_be_full(self) -> bool:
        """Whether it is of a kind that polls as writable only at times: a pipe, a terminal."""
        return self._descriptor >= 0 and not self._is_file

    def fileno(self) -> int:
        return self._descriptor

    def write(self, lines: bytes) -> None:
        """Write one line, or whole lines that are together no longer than one may be.

        Raises:
            BlockingIOError: They would have to wait.
            OSError: They are not written, as the disk is full, for example.
        """
        if self.path == _NOWHERE:
            return
        self.open()
        in_turn = self._turns > 0 and self._begin_turn()
        try:
            self._write(lines)
            self._turns = max(0, self._turns - 1)
        except BlockingIOError:
            raise
        except OSError:
            self._turns = _TURNS
            raise
        finally:
            if in_turn:
                system.flock(self._descriptor, fcntl.LOCK_UN)

    def reopen(self) -> str | None:
        """Begin the file that is now at the path, or a new one; a standard stream stays.

        Where that fails the old one is kept, and what is to be said of it returned.
        """
        if self._descriptor < 0 or self.path in _STANDARD:
            return None
        old, self._descriptor = self._descriptor, -1
        try:
            self.open()
        except OSError as error:
            self._descriptor = old
            reason = describe_os_error(error)
            return f"cannot open the log {self.path} again: {reason}; the old file goes on"
        _close(old)
        return None

    def close(self) -> None:
        """Close what was opened here."""
        _close(self._descriptor)
        self._descriptor = -1

    def _write(self, lines: bytes) -> None:
        written = system.write(self._descriptor, lines)
        while written < len(lines):
            if self._is_own_file():
                self._take_back(written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # A terminal or a socket has taken a part, and the rest belongs behind it.
            written += system.write(self._descriptor, lines[written:])

    def _take_back(self, written: int) -> None:
        """Cut off what a full disk took of a line, unless somebody else has gone on behind it."""
        end = system.lseek(self._descriptor, 0, os.SEEK_CUR)
        if system.fstat(self._descriptor).st_size == end:
            system.ftruncate(self._descriptor, end - written)

    def _begin_turn(self) -> bool:
        """Keep our other processes out for one write; False where there are no locks.

        Raises:
            BlockingIOError: Another one is writing.
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
    """Return a descriptor of a standard stream with flags of its own, or the stream's."""
    if _is_file(descriptor):
        # Its offset is shared with others, and would not be if it were opened once more.
        return descriptor
    try:
        return system.open(f"/proc/self/fd/{descriptor}", _FLAGS)
    except OSError:
        # A socket, or a pipe of another user's: then the look before each line has to do.
        return descriptor


@dataclass
class Losses:
    """What a log has lost and does not say yet."""

    _count: int = 0
    _reasons: dict[str, None] = field(default_factory=dict)

    def add(self, count: int, reason: str) -> None:
        """Note lines that are lost."""
        self._count += count
        self._reasons[reason] = None

    def text(self) -> str | None:
        """Return what is to be said, or None."""
        if not self._count:
            return None
        lines = "1 log line was" if self._count == 1 else f"{self._count} log lines were"
        return f"{lines} lost: {', '.join(self._reasons)}"

    def told(self) -> None:
        """The log has said it."""
        self._count = 0
        self._reasons.clear()


class DirectLog:
    """Lines written by whoever has them: for processes of one thread that must not wait.

    What the file does not take is lost, and the next line that it takes is preceded by one that says so.
    """

    def __init__(self, path: str, log_format: str) -> None:
        self.file = LogFile(path)
        self._losses = Losses()
        self._encode = FORMATS[log_format]

    def write(self, fields: Fields, text: str) -> None:
        """Write one line, if that can be done without waiting."""
        lost = self._losses.text()
        if lost is not None and self._refusal({**fields, "level": "WARNING"}, lost) is None:
            self._losses.told()
        refusal = self._refusal(fields, text)
        if refusal is not None:
            self._losses.add(1, refusal)

    def _refusal(self, fields: Fields, text: str) -> str | None:
        """Write a line; return why it was not written, or None."""
        try:
            if not self.file.ready():
                return NOT_TAKEN
            self.file.write(to_line(self._encode, fields, text))
        except BlockingIOError:
            return NOT_TAKEN
        except OSError as error:
            return describe_os_error(error)
        return None
