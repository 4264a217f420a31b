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
        CancelledError: The protocol cancelled the task. Whatever else the handler ends with is its own
            failure, also SystemExit or a group of such: it may end its connection, not the worker.
    """
    handler = protocol.handler
    code = _INTERNAL_ERROR
    try:
        await handler.handle(protocol.chat, protocol.context)
        code = _NORMAL
    except BaseException as error:
        if protocol.is_cancelled and isinstance(error, asyncio.CancelledError):
            raise
        if _is_closed(error):
            code = _NORMAL
            handler.logger.debug("connection ended: %s", error)
        else:
            handler.logger.exception("the handler failed")
    finally:
        protocol.handler_ended(code)


def _is_closed(error: BaseException) -> bool:
    """Whether nothing but the connection's end is told, be it by several tasks of a TaskGroup."""
    if isinstance(error, ExceptionGroup):
        return error.split(ConnectionClosed)[1] is None
    return isinstance(error, ConnectionClosed)
