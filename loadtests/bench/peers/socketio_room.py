"""A room of python-socketio, with Redis as its client manager."""

from __future__ import annotations

import os
from typing import Any

import socketio

sio = socketio.AsyncServer(
    async_mode="asgi", client_manager=socketio.AsyncRedisManager(os.environ["REDIS"])
)
app = socketio.ASGIApp(sio)


async def connect(sid: str, _environ: dict[str, Any]) -> None:
    await sio.enter_room(sid, "bench")


async def publish(_sid: str, data: str) -> None:
    await sio.emit("message", data, room="bench")


sio.on("connect", connect)
sio.on("message", publish)
