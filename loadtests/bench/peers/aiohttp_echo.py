"""An aiohttp WebSocket handler, on uvloop, without access log."""

from __future__ import annotations

import sys

import uvloop
from aiohttp import WSMsgType, web

PORT, *WORDS = sys.argv[1:]
HEARTBEAT = float(WORDS[-1]) if "pings" in WORDS else None


async def echo(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse(compress="deflate" in WORDS, heartbeat=HEARTBEAT)
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await websocket.send_bytes(message.data)
    return websocket


app = web.Application()
app.router.add_get("/chat", echo)
web.run_app(
    app,
    host="127.0.0.1",
    port=int(PORT),
    access_log=None,
    print=None,
    loop=uvloop.new_event_loop(),
)
