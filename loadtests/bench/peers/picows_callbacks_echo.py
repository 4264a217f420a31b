"""The echo of picows' documentation for its callbacks, on uvloop."""

from __future__ import annotations

import ssl
import sys
from typing import Any

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


def listener(_request: WSUpgradeRequest) -> WSListener:
    return Echo()


async def main() -> None:
    port, *words = sys.argv[1:]
    further: dict[str, Any] = {}
    if "tls" in words:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain("cert.pem", "key.pem")
        further = {"ssl": context}
    if "pings" in words:
        further = {"enable_auto_ping": True, "auto_ping_idle_timeout": float(words[-1])}
    server = await ws_create_server(listener, "127.0.0.1", int(port), **further)
    await server.serve_forever()


uvloop.run(main())
