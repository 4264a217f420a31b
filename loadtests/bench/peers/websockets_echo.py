"""The echo of websockets' documentation, on uvloop."""

from __future__ import annotations

import sys

import uvloop
from websockets.asyncio.server import ServerConnection, serve


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def main() -> None:
    port, *words = sys.argv[1:]
    compression = "deflate" if "deflate" in words else None
    async with serve(echo, "127.0.0.1", int(port), compression=compression) as server:
        await server.serve_forever()


uvloop.run(main())
