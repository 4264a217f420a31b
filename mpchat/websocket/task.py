"""The handler's task of one connection: how it begins, and how its end closes the connection."""

from __future__ import annotations

import asyncio

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.stepping import stepped

# Each connection begins with the one and ends with the other. Python 3.11 takes long to find a member of
# an enum.
_FAILED, _DONE = CloseCode.INTERNAL_ERROR, CloseCode.NORMAL_CLOSURE


def start(protocol: WebSocketProtocol, handler: WebsocketHandlerBase, leftover: bytes) -> None:
    """Run ``handle`` as a task of its own; ``leftover`` is what was read behind the handshake."""
    chat = WebSocketConnection(protocol)
    running = run_handler(protocol, handler, chat)
    protocol.start(asyncio.get_running_loop().create_task(running), leftover)


async def run_handler(
    protocol: WebSocketProtocol, handler: WebsocketHandlerBase, chat: WebSocketConnection
) -> None:
    """Run ``handle`` to its end; returning closes with 1000, failing with 1011 and one traceback.

    Raises:
        CancelledError: The protocol cancelled the task. Everything else that the handler raises is its
            own failure, SystemExit included: it ends its connection, not the worker.
    """
    code = _FAILED
    try:
        await stepped(handler.handle(chat, protocol.context), protocol.incoming)
        code = _DONE
    except BaseException as error:
        if protocol.is_cancelled and isinstance(error, asyncio.CancelledError):
            raise
        if _is_closed(error):
            code = _DONE
            handler.logger.debug("connection ended: %s", error)
        else:
            handler.logger.exception("the handler failed")
    finally:
        protocol.handler_ended(code)


def _is_closed(error: BaseException) -> bool:
    """Whether the error says only that the connection has ended, also by several tasks of a TaskGroup."""
    if isinstance(error, ExceptionGroup):
        return error.split(ConnectionClosed)[1] is None
    return isinstance(error, ConnectionClosed)
