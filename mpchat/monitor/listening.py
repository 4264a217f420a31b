"""The control socket's file: created for this user alone, taken over from a dead service."""

from __future__ import annotations

import os
import socket
import stat

from mpchat.errors import ExitCode, StartError
from mpchat.ipc.control import own_folder
from mpchat.linux import system
from mpchat.linux.socket_file import PathTaken, SocketFile, listen_at

_BACKLOG = 16
_MODE = 0o600


def listen(path: str) -> tuple[socket.socket, SocketFile]:
    """Return a listening socket of mode 0600 at the path, and its file.

    Raises:
        StartError: Another service listens there, or the folder does not allow it.
    """
    folder = os.path.dirname(path)
    try:
        if folder == own_folder(os.environ):
            _make_own_folder(folder)
        return listen_at(path, _BACKLOG, _MODE)
    except PathTaken as error:
        text = f"{error}; set control-socket in section server"
        raise _unusable(path, text) from error
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error


def _make_own_folder(folder: str) -> None:
    try:
        system.mkdir(folder, 0o700)
    except FileExistsError as error:
        found = system.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            text = "the folder must belong to this user alone (mode 0700)"
            raise _unusable(folder, text) from error


def _unusable(path: str, reason: str) -> StartError:
    return StartError(f"control socket {path}: {reason}", ExitCode.CONFIG)
