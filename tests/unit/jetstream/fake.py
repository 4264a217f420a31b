"""A server that says what a test wants: old versions, answers with holes, errors in the middle.

Rules. It speaks the protocol as far as a client needs it. What clients have sent can be looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Sent(NamedTuple):
    """What a client has published."""

    subject: str
    reply: str
    headers: bytes
    data: bytes


class Answer(NamedTuple):
    """What it gets."""

    data: bytes = b""
    headers: bytes = b""


def answer(body: Any) -> Answer:
    """Return an answer of JetStream's API."""
    return Answer(json.dumps(body).encode())


def status(text: str, **headers: int) -> Answer:
    """Return a status such as ``204 EOB``, with headers such as ``Nats_Last_Sequence``."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return Answer(b"", f"NATS/1.0 {text}\r\n{lines}\r\n".encode())


def stored(subject: str, seq: int, last: int, data: bytes = b"x") -> Answer:
    """Return a message of a batch."""
    head = f"NATS/1.0\r\nNats-Stream: ROOMS\r\nNats-Subject: {subject}\r\nNats-Sequence: {seq}\r\n"
    tail = f"Nats-Time-Stamp: 2026-11-29T01:28:40.354Z\r\nNats-Last-Sequence: {last}\r\n\r\n"
    return Answer(data, (head + tail).encode())


@dataclass
class FakeNats:
    """What the server is, and what it saw.

    Attributes:
        hello: What it says first.
        on_publish: Makes the answers to what was published; None: an error of its own was sent.
        connects: What clients have logged in with.
        subscribed: What clients have subscribed to.
        writers: The connections that are open.
    """

    version: str = "2.11.0"
    info: dict[str, Any] = field(default_factory=dict)
    hello: str = "INFO {info}"
    on_publish: Callable[[Sent], Iterable[Answer]] = lambda sent: []
    connects: list[dict[str, Any]] = field(default_factory=list)
    subscribed: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    url: str = ""

    def say(self, line: str) -> None:
        """Send a line to all clients."""
        for writer in self.writers:
            writer.write(f"{line}\r\n".encode())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.remove(writer)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_name": "fake", "version": self.version, "max_payload": 1 << 20}
        info |= {"headers": True, **self.info}
        if self.hello:
            writer.write(f"{self.hello.replace('{info}', json.dumps(info))}\r\n".encode())
        sid = ""
        while line := await reader.readline():
            verb, *words = line.decode().split()
            match verb:
                case "CONNECT":
                    self.connects.append(json.loads(line[len("CONNECT ") :]))
                case "PING":
                    writer.write(b"PONG\r\n")
                case "SUB":
                    self.subscribed.append(words[0])
                    sid = words[-1] if words[0].startswith("_INBOX") else sid
                case "PUB" | "HPUB":
                    size = int(words[-1])
                    body = (await reader.readexactly(size + 2))[:size]
                    split = int(words[-2]) if verb == "HPUB" else 0
                    numbers = 2 if verb == "HPUB" else 1
                    reply = words[1] if len(words) > 1 + numbers else ""
                    sent = Sent(words[0], reply, body[:split], body[split:])
                    for found in self.on_publish(sent):
                        writer.write(_message(reply, sid, found))


def _message(subject: str, sid: str, found: Answer) -> bytes:
    if not found.headers:
        head = f"MSG {subject} {sid} {len(found.data)}\r\n"
        return head.encode() + found.data + b"\r\n"
    sizes = f"{len(found.headers)} {len(found.headers) + len(found.data)}"
    return f"HMSG {subject} {sid} {sizes}\r\n".encode() + found.headers + found.data + b"\r\n"


@contextlib.asynccontextmanager
async def fake_nats(fake: FakeNats, port: int = 0) -> AsyncIterator[FakeNats]:
    """Serve on a port of loopback."""
    server = await asyncio.start_server(fake._serve, "127.0.0.1", port)
    fake.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.close()
        for writer in fake.writers:
            writer.transport.abort()
        await server.wait_closed()
