"""An echo in RSGI, granian's own interface."""

from __future__ import annotations

from typing import Any

from granian.rsgi import Scope, WebsocketMessageType


async def app(_scope: Scope, protocol: Any) -> None:
    websocket = await protocol.accept()
    while True:
        message = await websocket.receive()
        if message.kind == WebsocketMessageType.bytes:
            await websocket.send_bytes(message.data)
        elif message.kind == WebsocketMessageType.string:
            await websocket.send_str(message.data)
        else:
            return
