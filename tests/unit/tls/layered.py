"""TLS connections of one worker in memory: their clients, what is above them, and what is below.

Rules. Whatever is called from the layer looks whether both BIOs are empty, as code of an application
might use them for another connection. Bytes move only when a test moves them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from mpchat.scoreboard.counters import Counters
from mpchat.tls.layer import TlsProtocol
from mpchat.tls.worker import TlsWorker
from mpchat.websocket.shared import Shared
from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.turn import Turn
from mpchat.websocket.wheel import Wheel
from tests.kit.certificates import Certificates, PairFiles
from tests.unit.server import virtual

TIMEOUT = 10.0
_IDLE = 20
"""Turns in which nobody has anything to say: more than any queue of a test needs"""
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def serving(pair: PairFiles, ca: Path | None = None) -> ssl.SSLContext:
    """Return a base context that serves this pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    context.num_tickets = 1
    context.set_alpn_protocols(["http/1.1"])
    if ca is not None:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Wire:
    """What is below: a transport whose other end takes what it likes."""

    def __init__(self) -> None:
        self.sent = b""
        self.unsent = 0
        self.is_stuck = False
        """The other end takes nothing"""
        self.is_reading = True
        self.has_eof = self.is_closed = self.is_aborted = False
        self.protocol: Any = None
        self.limit = 65536

    def write(self, data: bytes) -> None:
        assert not self.has_eof
        if self.is_closed:
            return
        self.sent += data
        if self.is_stuck:
            self.unsent += len(data)
            if self.unsent > self.limit:
                self.protocol.pause_writing()

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def take_all(self) -> None:
        """The other end has taken what was sent."""
        self.is_stuck, self.unsent = False, 0
        self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limit = 65536 if high is None else high

    def write_eof(self) -> None:
        self.has_eof = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True
        self.unsent = 0

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.1", 50000)}.get(name, default)


class App:
    """What is above: it keeps what comes, and does what a test has it do."""

    def __init__(self, worker: TlsWorker) -> None:
        self._worker = worker
        self.admitted = True
        self.below: Any = None
        self.transport: Any = None
        self.received = b""
        self.events: list[str] = []
        self.controls = 0
        self.stays = False
        """It answers the client's end"""
        self.on_data: Callable[[bytes], None] = lambda data: None

    def _called(self, event: str) -> None:
        assert self._worker.is_empty
        self.events.append(event)

    def comes_through(self, below: Any) -> None:
        self.below = below

    def ended_below(self, reason: str, transport: Any) -> None:
        self._called(f"ended: {reason}")

    def refuse_plain(self) -> None:
        self._called("refuse plain")

    def connection_made(self, transport: Any) -> None:
        self._called("made")
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._called("lost")

    def data_received(self, data: bytes) -> None:
        assert self._worker.is_empty
        self.received += data
        self.on_data(data)

    def eof_received(self) -> bool:
        self._called("eof")
        return self.stays

    def pause_writing(self) -> None:
        self._called("pause")

    def resume_writing(self) -> None:
        self._called("resume")

    def controls_received(self, count: int) -> None:
        assert self._worker.is_empty
        self.controls += count


class Client:
    """A client's half of TLS."""

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname="localhost", session=session
        )
        self.received = b""
        self.is_shaken = self.has_ended = False
        self.error: ssl.SSLError | None = None

    def take(self, data: bytes = b"") -> bytes:
        """Take these bytes; return what the client sends then."""
        self._incoming.write(data)
        try:
            if not self.is_shaken:
                self.tls.do_handshake()
                self.is_shaken = True
            while not self.has_ended:
                part = self.tls.read(65536)
                self.received += part
                self.has_ended = not part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            # Both have said close_notify.
            self.has_ended = True
        except ssl.SSLError as error:
            self.error = error
        return self._outgoing.read()

    def write(self, data: bytes) -> bytes:
        """Return these bytes as the client sends them."""
        self.tls.write(data)
        return self._outgoing.read()

    def notify(self) -> bytes:
        """Return the client's close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outgoing.read()


class Connection:
    """One connection: its client, the layer, and both of its sides."""

    def __init__(self, worker: TlsWorker, client: Client | None) -> None:
        self._worker = worker
        self.wire = Wire()
        self.app = App(worker)
        self.layer = TlsProtocol(worker, cast(Any, self.app), -1)
        self.wire.protocol = self.layer
        self.layer.connection_made(cast(Any, self.wire))
        self._client = client
        self._taken = 0

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    def comes(self, data: bytes) -> None:
        """Let these bytes come, if the socket is read."""
        assert self.wire.is_reading
        if data:
            self.wire.protocol.data_received(data)
        assert self._worker.is_empty

    def goes(self) -> bytes:
        """Return what was sent since this was last asked."""
        new, self._taken = self.wire.sent[self._taken :], len(self.wire.sent)
        return new

    def exchange(self) -> bool:
        """Give the client what was sent, and the server the client's answer; return if there was any."""
        sent = self.goes()
        answer = self.client.take(sent)
        if answer and not self.wire.is_closed:
            self.comes(answer)
        return bool(sent or answer)

    def lose(self) -> None:
        """The socket is closed."""
        self.wire.protocol.connection_lost(None)


class Rig:
    """One worker."""

    def __init__(self, context: ssl.SSLContext, **thresholds: Any) -> None:
        loop = asyncio.get_running_loop()
        self.limits: Counter[str] = Counter()
        self.counters = Counters()
        limits = replace(Thresholds(), **thresholds)
        # Work alone ends a turn.
        self.turn = Turn(loop, lambda: None, lambda: None, limits, lambda: 0.0)
        self.shared = Shared(
            loop,
            limits,
            self.counters,
            self.turn,
            Wheel(loop, limits),
            cast(Any, None),
            lambda name: self.limits.update((name,)),
        )
        self.worker = TlsWorker(context, self.shared, TIMEOUT)

    def connect(self, client: Client | None = None) -> Connection:
        """Return a connection of which nothing has come yet."""
        return Connection(self.worker, client)

    async def shake(self, context: ssl.SSLContext, **given: Any) -> Connection:
        """Return a connection whose handshake is done, or refused."""
        connection = self.connect(Client(context, **given))
        await self.settle(connection)
        return connection

    async def settle(self, *connections: Connection) -> None:
        """Exchange bytes until nobody has any."""
        idle = 0
        while idle < _IDLE:
            moved = [one.exchange() for one in connections if one.wire.is_reading]
            idle = 0 if any(moved) else idle + 1
            await turns(1)


async def turns(count: int = 2) -> None:
    """Let so many turns of the loop pass."""
    for _ in range(count):
        await asyncio.sleep(0)


def in_memory(
    test: Callable[[Certificates], Coroutine[Any, Any, None]],
) -> Callable[[Certificates], None]:
    """Run a test on a loop whose time passes at once."""

    @functools.wraps(test)
    def run(certificates: Certificates, **more: Any) -> None:
        virtual.run(test(certificates, **more))

    return run
