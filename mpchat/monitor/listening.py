"""The control socket's place in the file system: made for this user alone, taken over from the dead.

Rules. A path is taken over only if nobody answers there, and under a lock on its folder, so two services
that start at once do not take it from each other. The mode is set before the path exists.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time

from mpchat.errors import ExitCode, StartError, describe_os_error
from mpchat.ipc.control import own_folder
from mpchat.linux import descriptors as fds
from mpchat.linux import system

_BACKLOG = 16
_LOCK_SECONDS = 1.0


def listen(path: str) -> socket.socket:
    """Return a listening socket of mode 0600 at the path.

    Raises:
        StartError: Another service listens there, or the folder does not allow it.
    """
    folder = os.path.dirname(path) or "."
    sock = system.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if folder == own_folder(os.environ):
            _make_own_folder(folder)
        lock = system.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(lock, folder)
            _remove_stale(path)
            system.fchmod(sock.fileno(), 0o600)
            system.bind(sock, path)
        finally:
            fds.close(lock)
        system.listen(sock, _BACKLOG)
    except OSError as error:
        system.close_socket(sock)
        raise _unusable(path, describe_os_error(error)) from error
    except StartError:
        system.close_socket(sock)
        raise
    return sock


def _make_own_folder(folder: str) -> None:
    try:
        system.mkdir(folder, 0o700)
    except FileExistsError as error:
        found = system.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            text = "the folder must be this user's alone (mode 0700)"
            raise _unusable(folder, text) from error


def _lock(descriptor: int, folder: str) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            system.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise _unusable(folder, "another process holds a lock on the folder") from error
            system.sleep(0.01)


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(system.lstat(path).st_mode):
            raise _unusable(path, "there is something that is no socket")
    except FileNotFoundError:
        return
    with system.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        system.setblocking(probe, False)
        try:
            system.connect(probe, path)
        except ConnectionRefusedError:
            system.unlink(path)
            return
        except BlockingIOError:
            pass  # Its queue is full: somebody is there.
    raise _unusable(path, "another service listens there; set control-socket in section server")


def _unusable(path: str, reason: str) -> StartError:
    return StartError(f"control socket {path}: {reason}", ExitCode.CONFIG)
