"""The control socket: where it is, and how it is asked. What the monitor and the verbs share.

Rules. One request is one JSON object on a line, ``{"verb": "status"}``; the answer is one line, too:
``{"ok": true, …}`` or ``{"ok": false, "error": "…"}``. A connection may ask again. docs/operations.md
describes the verbs. Whoever may open the socket may give orders, so its mode is 0600.
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
PATIENCE = 60.0
"""Seconds that an answer may take, but for orders that wait until something is done."""


class ControlError(MpchatError):
    """The service could not be asked, or refused; the text says why."""


def default_path(environment: Mapping[str, str], listener: str) -> str:
    """Return where the control socket is unless the option control-socket says otherwise.

    ``listener`` is the port or the path of the Unix socket that clients use. systemd names the folder
    (RUNTIME_DIRECTORY), or the session does (XDG_RUNTIME_DIR), or it is one of the user's own.
    """
    ours = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if ours:
        return os.path.join(ours, "control.sock")
    name = f"mpchat-{os.path.basename(listener)}.sock"
    return os.path.join(environment.get("XDG_RUNTIME_DIR") or own_folder(environment), name)


def own_folder(environment: Mapping[str, str]) -> str:
    """Return the folder of this user where the system provides none; the monitor makes it.

    Not by tempfile.gettempdir(), which writes to find out where it can: a container may be read-only.
    """
    return os.path.join(environment.get("TMPDIR") or "/tmp", f"mpchat-{os.getuid()}")


def ask(path: str, request: dict[str, Any], patience: float | None = PATIENCE) -> dict[str, Any]:
    """Send one request and return its answer; ``patience`` is in seconds, None waits for ever.

    Raises:
        ControlError: Nobody answers there, or the answer is an error.
    """
    try:
        line = _exchange(path, json.dumps(request).encode() + b"\n", patience)
    except BlockingIOError as error:
        raise ControlError(f"the service at {path} has too many clients that wait") from error
    except OSError as error:
        reason = describe_os_error(error) if error.strerror else str(error)
        hint = "is it running?"
        if isinstance(error, FileNotFoundError):
            hint += " That of another user or environment is found by --socket"
        raise ControlError(f"cannot ask the service at {path}: {reason}; {hint}") from error
    if not line.endswith(b"\n"):
        raise ControlError(f"the service at {path} ended before it had answered")
    try:
        answer: dict[str, Any] = json.loads(line)
        succeeded, error_text = answer.pop("ok"), answer.get("error", "")
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ControlError(f"what answers at {path} is no service of mpchat") from error
    if not succeeded:
        raise ControlError(str(error_text))
    return answer


def _exchange(path: str, request: bytes, patience: float | None) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        connection.connect(path)
        with contextlib.suppress(BrokenPipeError):
            # Whoever turns us away has said why before.
            connection.sendall(request)
        line = b""
        while not line.endswith(b"\n") and (part := _receive(connection)):
            line += part
        return line


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(MAX_REQUEST)
    except ConnectionResetError:
        # The other side left something of ours unread; what it sent before is still there.
        return connection.recv(MAX_REQUEST)
