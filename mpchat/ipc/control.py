"""The control socket, as the monitor and the verbs share it: its path and its protocol.

Rules. A request is one JSON object on a line, ``{"verb": "status"}``; the answer is one line,
``{"ok": true, …}`` or ``{"ok": false, "error": "…"}``. A connection may send further requests.
docs/control-socket.md describes the verbs. A user who can open the socket can give orders, so its mode is
0600.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from mpchat.errors import MpchatError, describe_os_error

MAX_REQUEST = 64 * 1024
_NOBODY = (FileNotFoundError, ConnectionRefusedError)
PATIENCE = 60.0
"""Seconds that an answer may take, except for orders that wait until something is done."""


class ControlError(MpchatError):
    """The service did not answer, or refused; the text says why."""


class NotRunning(ControlError):
    """No service listens at the path."""


def default_path(environment: Mapping[str, str], listener: str) -> str:
    """Return the path of the control socket without the option control-socket.

    ``listener`` is the clients' port, or the path of their Unix socket. The folder is that of systemd
    (RUNTIME_DIRECTORY), else that of the session (XDG_RUNTIME_DIR), else one of the user's own.
    """
    ours = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if ours:
        return os.path.join(ours, "control.sock")
    name = f"mpchat-{os.path.basename(listener)}.sock"
    return os.path.join(environment.get("XDG_RUNTIME_DIR") or own_folder(environment), name)


def own_folder(environment: Mapping[str, str]) -> str:
    """Return this user's folder for a system that provides none; the monitor creates it.

    tempfile.gettempdir() tests each candidate by writing a file, which fails in a read-only container.
    """
    return os.path.join(environment.get("TMPDIR") or "/tmp", f"mpchat-{os.getuid()}")


def ask(path: str, request: dict[str, Any], patience: float | None = PATIENCE) -> dict[str, Any]:
    """Send one request and return its answer; ``patience`` is in seconds, and None waits forever.

    Raises:
        NotRunning: No service listens there.
        ControlError: It does not answer, or the answer is an error.
    """
    try:
        line = _exchange(path, json.dumps(request).encode() + b"\n", patience)
    except BlockingIOError as error:
        raise ControlError(f"too many clients wait for the service at {path}") from error
    except OSError as error:
        reason = describe_os_error(error) if error.strerror else str(error)
        hint = "is it running?"
        if isinstance(error, FileNotFoundError):
            hint += " For a service of another user or environment, name the socket by --socket"
        kind = NotRunning if isinstance(error, _NOBODY) else ControlError
        raise kind(f"cannot ask the service at {path}: {reason}; {hint}") from error
    if not line.endswith(b"\n"):
        raise ControlError(f"the service at {path} ended before it answered")
    try:
        answer: dict[str, Any] = json.loads(line)
        succeeded, error_text = answer.pop("ok"), answer.get("error", "")
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ControlError(f"the process that answers at {path} is not mpchat") from error
    if not succeeded:
        raise ControlError(str(error_text))
    return answer


def _exchange(path: str, request: bytes, patience: float | None) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        connection.connect(path)
        with contextlib.suppress(BrokenPipeError):
            # A service that refuses us has sent its reason before closing.
            connection.sendall(request)
        line = b""
        while not line.endswith(b"\n") and (part := _receive(connection)):
            line += part
        return line


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(MAX_REQUEST)
    except ConnectionResetError:
        # The other side closed before it read everything; its answer can still be received.
        return connection.recv(MAX_REQUEST)
