"""Honest clients in a process of their own: ``python -m tests.attacks.honest PORT COUNT PAUSE [CA]``.

With the file of an authority they come by TLS. Each sends a short message, waits for the echo, and sends
the next one after the pause. They stay until standard input ends; then the time of each message and how
long its answer took go to standard output, a pair on a line, seconds of the system's monotonic clock.
"""

from __future__ import annotations

import asyncio
import gc
import random
import ssl
import sys
import time
from typing import cast

import uvloop

from tests.kit.frames import frame

_MESSAGE = b"an honest message of 32 bytes..."
_SENT = frame(0x82, _MESSAGE)
_ECHO = bytes((0x82, len(_MESSAGE))) + _MESSAGE
_HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


class _Client(asyncio.Protocol):
    def __init__(
        self, pause: float, answers: list[tuple[float, float]], on_open: asyncio.Semaphore
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.pause = pause
        self.answers = answers
        self.on_open = on_open
        self.is_open = self.is_over = False
        self.sent_at = 0.0
        self.data = b""
        self.transport: asyncio.Transport
        self.ended: asyncio.Future[None] = self.loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(_HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.is_open:
            head, found, self.data = self.data.partition(b"\r\n\r\n")
            if not found:
                self.data = head
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                raise RuntimeError(f"an honest client got {head.decode()}")
            self.is_open = True
            self.on_open.release()
            self.loop.call_later(random.uniform(0, self.pause), self._send)
        while len(self.data) >= 2 and len(self.data) >= 2 + self.data[1]:
            end = 2 + self.data[1]
            self._on_frame(self.data[:end])
            self.data = self.data[end:]

    def _on_frame(self, received: bytes) -> None:
        if received == b"\x89\x00":
            self.transport.write(frame(0x8A, b""))
        elif received == _ECHO:
            self.answers.append((self.sent_at, time.monotonic() - self.sent_at))
            self.loop.call_later(random.uniform(0.5, 1.5) * self.pause, self._send)
        elif not self.ended.done():
            self.ended.set_exception(RuntimeError(f"an honest client got {received!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(ConnectionError("an honest client was cut off"))

    def _send(self) -> None:
        if self.ended.done():
            return
        if self.is_over:
            # Whatever was sent has been answered.
            self.ended.set_result(None)
        else:
            self.sent_at = time.monotonic()
            self.transport.write(_SENT)


async def _main(port: int, count: int, pause: float, ca: str = "") -> list[tuple[float, float]]:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), over.set)
    answers: list[tuple[float, float]] = []
    on_open = asyncio.Semaphore(0)
    clients = [_Client(pause, answers, on_open) for _ in range(count)]
    context = ssl.create_default_context(cafile=ca) if ca else None
    for client in clients:
        await loop.create_connection(
            lambda client=client: client,
            "127.0.0.1",
            port,
            ssl=context,
        )
    for _ in clients:
        await on_open.acquire()
    print("all", flush=True)
    await over.wait()
    loop.remove_reader(sys.stdin.fileno())
    for client in clients:
        client.is_over = True
    async with asyncio.timeout(30):
        await asyncio.gather(*(client.ended for client in clients))
    return answers


if __name__ == "__main__":
    # It would count as the service's time.
    gc.disable()
    main = _main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:])
    for at, took in uvloop.run(main):
        print(at, took)
