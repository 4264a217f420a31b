"""One question to the control socket of the service under test."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from mpchat.testsuite.service import DEADLINE


def ask_dynamic_config(control_socket: Path) -> dict[str, Any]:
    """Return what the service tells of the dynamic config in force.

    Raises:
        OSError: It does not answer.
        RuntimeError: It answers that it cannot tell.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(str(control_socket))
        connection.sendall(b'{"verb": "dynamic-config"}\n')
        with connection.makefile() as lines:
            answer: dict[str, Any] = json.loads(lines.readline())
    if not answer["ok"]:
        raise RuntimeError(answer["error"])
    return answer
