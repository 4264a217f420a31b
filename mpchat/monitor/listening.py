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

_BACKLOG = 16
_LOCK_SECONDS = 1.0


def listen(path: str) -> socket.socket:
    """Return a listening socket of mode 0600 at the path.

    Raises:
        StartError: Another service listens there, or the folder does not allow it.
    """
    folder = os.path.dirname(path) or "."
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if folder == own_folder(os.environ):
            _make_own_folder(folder)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(lock, folder)
            _remove_stale(path)
            os.fchmod(sock.fileno(), 0o600)
            sock.bind(path)
        finally:
            os.close(lock)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _unusable(path, describe_os_error(error)) from error
    except StartError:
        sock.close()
        raise
    return sock


def _make_own_folder(folder: str) -> None:
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError as error:
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            text = "the folder must be this user's alone (mode 0700)"
            raise _unusable(folder, text) from error


def _lock(descriptor: int, folder: str) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise _unusable(folder, "another process holds a lock on the folder") from error
            time.sleep(0.01)


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise _unusable(path, "there is something that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # Its queue is full: somebody is there.
    raise _unusable(path, "another service listens there; set control-socket in section server")


def _unusable(path: str, reason: str) -> StartError:
    return StartError(f"control socket {path}: {reason}", ExitCode.CONFIG)
