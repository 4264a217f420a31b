"""How a connection ended, as an exception of ``websockets``."""

from __future__ import annotations

from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.frames import OK_CLOSE_CODES, Close

ABNORMAL = 1006
"""What ends without the client's Close (RFC 6455, section 7.1.5)."""


def closed_error(
    received: Close | None, sent: Close | None, received_first: bool
) -> ConnectionClosed:
    """Return the exception that tells it: ConnectionClosedOK after two normal Closes."""
    if received is None or sent is None:
        return ConnectionClosedError(received, sent, None)
    normal = received.code in OK_CLOSE_CODES and sent.code in OK_CLOSE_CODES
    cls = ConnectionClosedOK if normal else ConnectionClosedError
    return cls(received, sent, received_first)
