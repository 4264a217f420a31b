"""How a connection ended: for its handler as an exception of ``websockets``, for operators in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.frames import OK_CLOSE_CODES, Close, CloseCode

if TYPE_CHECKING:
    from mpchat.websocket.protocol import WebSocketProtocol

ABNORMAL = 1006
"""What ends without the client's Close (RFC 6455, section 7.1.5)."""


def closed_error(protocol: WebSocketProtocol) -> ConnectionClosed:
    """Return the exception that tells it: ConnectionClosedOK after two normal Closes."""
    received, sent = protocol.received, protocol.sent
    if received is None or sent is None:
        return ConnectionClosedError(received, sent, None)
    normal = received.code in OK_CLOSE_CODES and sent.code in OK_CLOSE_CODES
    cls = ConnectionClosedOK if normal else ConnectionClosedError
    return cls(received, sent, protocol.received_first)


def tell_mistake(protocol: WebSocketProtocol, close: Close) -> None:
    """Log, and count where a limit has an option, why we close what the client has not closed."""
    if close.code == CloseCode.MESSAGE_TOO_BIG:
        protocol.shared.count_limit("max-remote-payload")
    extra = {"connection": protocol.context.id}
    protocol.handler.logger.info("closing with %d: %s", close.code, close.reason, extra=extra)
