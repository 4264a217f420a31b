"""WebSocket clients that read slowly, end messages in their own way, or close while a handler streams."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpchat.testsuite.service import Service
from tests.functional.conftest import Serve
from tests.kit.raw import handshake
from tests.kit.waiting import eventually

APP = """
import asyncio
import os
import time

from mpchat import WebsocketHandlerBase, default_component_list


class Streamer(WebsocketHandlerBase):
    name = "handler-streamer"

    async def handle(self, chat, context):
        await chat.recv()
        while True:
            await chat.send("tick")
            await asyncio.sleep(0.05)


class Leaver(WebsocketHandlerBase):
    name = "handler-leaver"

    async def handle(self, chat, context):
        await chat.send(bytes(3_000_000))


class Stayer(WebsocketHandlerBase):
    name = "handler-stayer"

    async def handle(self, chat, context):
        await chat.send(bytes(3_000_000))
        async for message in chat:
            await chat.send(message)


class Pinger(WebsocketHandlerBase):
    name = "handler-pinger"

    async def handle(self, chat, context):
        for _ in range(150):
            await chat.ping()
        async for message in chat:
            await chat.send(message)


class Hesitant(WebsocketHandlerBase):
    name = "handler-hesitant"

    async def handle(self, chat, context):
        while not os.path.exists("begin"):
            time.sleep(0.01)
        await chat.recv()


components = default_component_list()
for cls in (Streamer, Leaver, Stayer, Pinger, Hesitant):
    components.append(cls)
"""
OPTIONS = {
    "task_processors.main-task-processor.worker_threads": 1,
    # Without an end of its own, so that a test that waits for it fails.
    "handler-streamer": {"path": "/streamer", "close-timeout": "60s"},
    "handler-leaver": {"path": "/leaver", "close-timeout": "1500ms"},
    "handler-stayer": {
        "path": "/stayer",
        "write-timeout": "1500ms",
        "idle-timeout": "1500ms",
        "ping-interval": "700ms",
        "ping-timeout": "700ms",
    },
    "handler-pinger": {"path": "/pinger"},
    "handler-hesitant": {"path": "/hesitant"},
}
MASK = bytes(4)
SIZE = 3_000_000


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "app.py").write_text(APP)
    return [*service_command, "--app", "app:components"]


class Client:
    """A client of bare frames, masked with zeroes; use as a context manager."""

    def __init__(self, service: Service, path: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.socket.connect(("127.0.0.1", service.port))
        self.socket.settimeout(30)
        self.socket.sendall(handshake(path))
        self._received = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()

    def begun(self) -> Client:
        """Read the answer to the handshake."""
        while b"\r\n\r\n" not in self._received:
            self._received += self.socket.recv(1)
        assert self._received.startswith(b"HTTP/1.1 101 ")
        self._received = b""
        return self

    def send(self, first: int, payload: bytes = b"") -> None:
        self.socket.sendall(bytes([first, 0x80 | len(payload)]) + MASK + payload)

    def frames(self, pause: float = 0.0) -> Iterator[tuple[int, bytes]]:
        """Read frames to the end of file, slowly if there is a pause; answers pings."""
        while True:
            first, size = self._take(2, pause)
            if size >= 126:
                size = int.from_bytes(self._take(2 if size == 126 else 8, pause), "big")
            payload = self._take(size, pause)
            if first == 0x89:
                self.send(0x8A, payload)
            yield first, payload

    def _take(self, count: int, pause: float) -> bytes:
        while len(self._received) < count:
            part = self.socket.recv(65536)
            assert part, "the service has ended the connection"
            self._received += part
            time.sleep(pause)
        taken, self._received = self._received[:count], self._received[count:]
        return taken


def reads_all_slowly(service: Service, path: str) -> None:
    with Client(service, path) as client:
        begun, size = time.monotonic(), 0
        for first, payload in client.begun().frames(0.08):
            size += len(payload) if first in {0x02, 0x00, 0x80, 0x82} else 0
            if size == SIZE or first == 0x88:
                break
        assert size == SIZE
        assert time.monotonic() - begun > 2.0


async def test_a_client_that_reads_all_the_time_is_not_cut_off(serve: Serve) -> None:
    # Each takes longer than close-timeout, write-timeout, idle-timeout and ping-timeout.
    with serve(OPTIONS) as service:
        await asyncio.gather(
            asyncio.to_thread(reads_all_slowly, service, "/leaver"),
            asyncio.to_thread(reads_all_slowly, service, "/stayer"),
        )


async def test_frames_that_belong_to_messages_and_pings_are_no_flood(serve: Serve) -> None:
    with serve(OPTIONS) as service:
        with Client(service, "/chat") as client:
            # On a busy machine this takes longer than a ping-interval.
            messages = (frame for frame in client.begun().frames() if frame[0] != 0x89)
            for _ in range(150):
                client.send(0x01, b"ended by an empty one")
                client.send(0x80)
                assert next(messages) == (0x81, b"ended by an empty one")
                client.send(0x01)
                client.send(0x80, b"begun by an empty one")
                assert next(messages) == (0x81, b"begun by an empty one")
        with Client(service, "/pinger") as client:
            frames = client.begun().frames()
            for _ in range(150):
                assert next(frames)[0] == 0x89
            client.send(0x81, b"still there")
            assert next(frames) == (0x81, b"still there")


async def test_a_close_is_answered_while_the_handler_streams_on(serve: Serve) -> None:
    with serve(OPTIONS) as service, Client(service, "/streamer") as client:
        frames = client.begun().frames()
        client.send(0x81, b"begin")
        for _ in range(5):
            assert next(frames) == (0x81, b"tick")
        client.send(0x88, b"\x03\xe8")
        while (frame := next(frames)) == (0x81, b"tick"):
            continue
        assert frame == (0x88, b"\x03\xe8")
        # Nothing comes behind it.
        assert client.socket.recv(1000) == b""


async def test_a_handshake_is_answered_when_its_handler_has_begun(
    serve: Serve, service_tmpdir: Path
) -> None:
    with serve(OPTIONS) as service, Client(service, "/hesitant") as client:
        await eventually(lambda: "GET /hesitant 101" in service.stderr(), "the access line")
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(30)
        (service_tmpdir / "begin").touch()
        client.begun()
