"""A bare loop on uvloop: what one member of the room sends is written to all of them as it came."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

members: set[asyncio.Transport] = set()


class Member(asyncio.Protocol):
    transport: asyncio.Transport
    act = "greet"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.act == "publish":
            for member in members:
                member.write(data)
            return
        self.transport.write(data)
        if self.act == "greet":  # what would be the handshake of a WebSocket
            self.act = "publish" if data.startswith(b"GET /rooms/") else "echo"
            if self.act == "publish":
                members.add(self.transport)

    def connection_lost(self, _error: Exception | None) -> None:
        members.discard(self.transport)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Member, "127.0.0.1", int(sys.argv[1]), backlog=1000)
    await server.serve_forever()


uvloop.run(main())
