"""A bare echo on uvloop, with TLS or without: what Python with this loop costs without a WebSocket."""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import cast

import uvloop


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def main() -> None:
    context = None
    if "tls" in sys.argv:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain("cert.pem", "key.pem")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", int(sys.argv[1]), ssl=context)
    await server.serve_forever()


if "asyncio" in sys.argv:
    asyncio.run(main())
else:
    uvloop.run(main())
