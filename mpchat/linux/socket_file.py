"""A Unix socket's file: created, taken over from dead services, removed only for its own service.

Rules. A check of a path and the action that follows are one step under a lock on the path's folder, so
that two services that start at once do not take the path from each other. A socket listens before the
lock is released; otherwise others would take it for a dead one. A check never waits for the process
behind the socket.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass

from mpchat.errors import MpchatError
from mpchat.linux import descriptors as fds
from mpchat.linux import system

_LOCK_SECONDS = 1.0
"""Seconds to wait for another process's lock."""
_LOCK_INTERVAL = 0.01
"""Seconds between attempts to lock."""
_ALL = 0o777


class PathTaken(MpchatError):
    """Something else is at the path; the text says what."""


@dataclass(frozen=True)
class SocketFile:
    """The identity of our file: inodes are reused, so the modification time is part of it."""

    path: str
    inode: int
    modified_ns: int

    @classmethod
    def of(cls, path: str) -> SocketFile:
        """Return the identity of the file that is now at the path."""
        found = system.lstat(path)
        return cls(path, found.st_ino, found.st_mtime_ns)

    def remove(self) -> None:
        """Remove the file, unless another process has replaced it by its own.

        Raises:
            OSError: The folder does not allow it; the file stays, and the next service takes it over.
        """
        with contextlib.suppress(FileNotFoundError), _locked_folder(self.path):
            if SocketFile.of(self.path) == self:
                system.unlink(self.path)


def listen_at(path: str, backlog: int, mode: int | None) -> tuple[socket.socket, SocketFile]:
    """Return a listening socket at a path, and its file; with ``mode`` None the umask decides.

    Raises:
        PathTaken: A process listens there, or the file is not a socket.
        OSError: The system or the folder does not allow it; nothing is left behind.
    """
    sock = system.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        system.setblocking(sock, False)
        with _locked_folder(path):
            if _is_dead(path):
                system.unlink(path)
            _bind(sock, path, mode)
            try:
                system.listen(sock, backlog)
                return sock, SocketFile.of(path)
            except BaseException:
                system.unlink(path)
                raise
    except BaseException:
        system.close_socket(sock)
        raise


def remove_dead(path: str) -> None:
    """Remove the socket of a dead process; anything else stays.

    Raises:
        OSError: The folder does not allow it.
    """
    with contextlib.suppress(FileNotFoundError, PathTaken), _locked_folder(path):
        if _is_dead(path):
            system.unlink(path)


def _is_dead(path: str) -> bool:
    """Return whether the path is the socket of a dead process; False if nothing is there.

    Raises:
        PathTaken: Something else is there.
    """
    try:
        if not stat.S_ISSOCK(system.lstat(path).st_mode):
            raise PathTaken("the file there is not a socket")
    except FileNotFoundError:
        return False
    with system.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        system.setblocking(probe, False)
        try:
            system.connect(probe, path)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            # Its queue is full: a process listens there, though it may hang.
            pass
    raise PathTaken("another service listens there")


def _bind(sock: socket.socket, path: str, mode: int | None) -> None:
    """Bind with the right mode from the start; chmod afterwards would leave a gap."""
    if mode is None:
        system.bind(sock, path)
        return
    before = system.umask(_ALL & ~mode)
    try:
        system.bind(sock, path)
    finally:
        system.umask(before)


@contextlib.contextmanager
def _locked_folder(path: str) -> Iterator[None]:
    """Hold the lock on a path's folder.

    Raises:
        OSError: The folder does not exist, or another process keeps the lock.
    """
    folder = system.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                system.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    text = "another process keeps the folder locked"
                    raise OSError(errno.ETIMEDOUT, text) from error
            system.sleep(_LOCK_INTERVAL)
        yield
    finally:
        fds.close(folder)
