"""The exception of ``websockets`` that tells a handler how its connection ended."""

from __future__ import annotations

from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.frames import OK_CLOSE_CODES, Close


def closed_error(
    close_rcvd: Close | None, close_sent: Close | None, close_rcvd_then_sent: bool | None
) -> ConnectionClosed:
    """Return ConnectionClosedOK after two normal Closes, ConnectionClosedError after anything else."""
    if close_rcvd is None or close_sent is None:
        return ConnectionClosedError(close_rcvd, close_sent, None)
    normal = close_rcvd.code in OK_CLOSE_CODES and close_sent.code in OK_CLOSE_CODES
    cls = ConnectionClosedOK if normal else ConnectionClosedError
    return cls(close_rcvd, close_sent, close_rcvd_then_sent)
