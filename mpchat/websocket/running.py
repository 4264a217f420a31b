"""The handler's task of one connection: how its end closes the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from mpchat.websocket.protocol import WebSocketProtocol

_NORMAL = 1000
_INTERNAL_ERROR = 1011


async def run_handler(protocol: WebSocketProtocol) -> None:
    """Run ``handle`` to its end; returning closes with 1000, failing with 1011 and one traceback.

    Raises:
        CancelledError: The protocol cancelled the task. One of the handler's own is a failure, and so
            are SystemExit and KeyboardInterrupt: a handler may end its connection, not the worker.
    """
    handler = protocol.handler
    code = _NORMAL
    try:
        await handler.handle(protocol.chat, protocol.context)
    except (Exception, asyncio.CancelledError, SystemExit, KeyboardInterrupt) as error:
        if protocol.is_cancelled and isinstance(error, asyncio.CancelledError):
            raise
        if _is_closed(error):
            handler.logger.debug("connection ended: %s", error)
        else:
            code = _INTERNAL_ERROR
            handler.logger.exception("the handler failed")
    finally:
        protocol.handler_ended(code)


def _is_closed(error: BaseException) -> bool:
    """Whether nothing but the connection's end is told, be it by several tasks of a TaskGroup."""
    if isinstance(error, ExceptionGroup):
        return error.split(ConnectionClosed)[1] is None
    return isinstance(error, ConnectionClosed)
