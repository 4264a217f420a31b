"""Attackers in a process of their own: ``python -m tests.attacks.attackers PLAN``.

Each opens a connection, does what the plan says, and comes back a few seconds after it has been turned
away or ended. They end with standard input; what became of them goes to standard output. Where times are
measured, they run when nobody else wants to: attackers bring cores of their own, and here would take
those of whom they attack.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import resource
import socket
import ssl
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from tests.attacks.sealing import HELLO, Sealing
from tests.kit.frames import frame

ADDRESS = "127.0.0.2"
"""Where they come from, so that limits for an address tell them from others."""
_MASK = bytes(4)
_TICK = 0.05
_CHUNK = 32 * 1024
_MANY = 100
"""Records that are sent at a time: making them takes longer than reading them."""


_BEGUN = b"\x82\xfe\xea\x60" + _MASK
"""The header of a message of 60,000 bytes."""
_HUGE = b"\x82\xff" + (1 << 40).to_bytes(8, "big") + _MASK
_KINDS: dict[str, tuple[bytes, bytes, float]] = {
    # What is sent at first, what is sent again and again, and the seconds between.
    "silent": (b"", b"", 0.0),
    "head": (b"GET /chat HTTP/1.1\r\n", b"X", 0.5),
    "messages": (b"", frame(0x82, bytes(16)), _TICK),
    "bytes": (b"", frame(0x82, bytes(60_000)), _TICK),
    "large": (_HUGE, bytes(_CHUNK), _TICK),
    "pings": (b"", frame(0x89, b"ping"), _TICK),
    "empty": (frame(0x02, b""), frame(0x00, b""), _TICK),
    "fragments": (frame(0x02, b"x"), frame(0x00, b"x"), _TICK),
    "drip": (_BEGUN, b"x", 0.5),
    "deaf": (b"", frame(0x82, bytes(16_000)), _TICK),
    "hellos": (HELLO, b"", 0.0),
    "half": (HELLO[: len(HELLO) // 2], b"", 0.0),
    "stale": (HELLO, b"", 0.0),
    # What follows is made for each connection.
    "key updates": (b"", b"", _TICK),
    "empty records": (b"", b"", _TICK),
}
_BARE = frozenset(("head", "hellos", "half", "stale"))
"""What is sent without any handshake before it."""
_SEALED = frozenset(("key updates", "empty records"))
"""What no library of TLS sends."""
KINDS = tuple(_KINDS)


@dataclass(frozen=True)
class Plan:
    """What they do.

    Attributes:
        kind: One of KINDS; ``count`` attackers do it.
        opening: New connections a second, at first.
        back: Mean seconds after which one comes back.
        yields: Whether they run only while a core is idle, which may be never on a busy machine.
        ca: The file of the authority whose certificate the service has, if it speaks TLS.
    """

    port: int
    kind: str
    count: int
    opening: float
    back: float
    yields: bool
    ca: str

    def to_argument(self) -> str:
        return json.dumps(asdict(self))


class _Crowd:
    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop) -> None:
        self.plan = plan
        self.loop = loop
        self.ends: Counter[str] = Counter()
        self.open: set[_Attacker] = set()
        self.connecting: set[asyncio.Task[None]] = set()
        self.is_over = False
        first, again, self.pause = _KINDS[plan.kind]
        self.first = first
        many = 1 if self.pause > _TICK else max(1, _CHUNK // max(1, len(again)))
        self.again = again * many
        self.context = ssl.create_default_context(cafile=plan.ca) if plan.ca else None
        self.handshake = (
            f"GET /chat HTTP/1.1\r\nHost: localhost:{plan.port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        ).encode()

    def connect(self) -> None:
        if self.is_over:
            return
        task = self.loop.create_task(self._connect())
        self.connecting.add(task)
        task.add_done_callback(self.connecting.discard)

    def come_back(self, why: str) -> None:
        self.ends[why] += 1
        back = self.plan.back
        self.loop.call_later(random.uniform(0.5 * back, 1.5 * back), self.connect)

    async def _connect(self) -> None:
        kind = self.plan.kind
        make = _SealingAttacker if kind in _SEALED else _Attacker
        try:
            async with asyncio.timeout(10):
                await self.loop.create_connection(
                    lambda: make(self),
                    "127.0.0.1",
                    self.plan.port,
                    local_addr=(ADDRESS, 0),
                    ssl=None if kind in _BARE | _SEALED else self.context,
                )
        except (OSError, TimeoutError) as error:
            self.come_back(type(error).__name__)


class _Attacker(asyncio.Protocol):
    def __init__(self, crowd: _Crowd) -> None:
        self.crowd = crowd
        self.end = "cut off"
        self.opened = self.is_full = False
        self.timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # What waits on their side is in another machine's memory, but for here.
        ours = self.transport.get_extra_info("socket")
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHUNK)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
        self.crowd.open.add(self)
        self._greet()

    def data_received(self, data: bytes) -> None:
        if self.crowd.plan.kind == "hellos":
            self.transport.abort()
            return
        if not self.opened and data.startswith(b"HTTP/1.1 "):
            if data.startswith(b"HTTP/1.1 101 "):
                self.opened = True
                self._begin()
                if self.crowd.plan.kind == "deaf":
                    self.transport.pause_reading()
            else:
                self.end = data[9:12].decode()
        # A Close comes last, and what comes before may be anything.
        close = data[-100:].rfind(b"\x88")
        if self.opened and close >= 0:
            self.end = str(int.from_bytes(data[-100:][close + 2 : close + 4], "big"))

    def eof_received(self) -> None:
        """Nothing more will come: it closes."""

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.crowd.open.discard(self)
        self.crowd.come_back(self.end)

    def _greet(self) -> None:
        if self.crowd.plan.kind in _BARE:
            self._begin()
        else:
            self.transport.write(self.crowd.handshake)

    def _begin(self) -> None:
        self.transport.write(self.crowd.first)
        self._go_on()

    def _next(self) -> bytes:
        return self.crowd.again

    def _go_on(self) -> None:
        crowd = self.crowd
        if not crowd.pause or self.transport.is_closing():
            return
        if not self.is_full:
            try:
                self.transport.write(self._next())
            except RuntimeError:
                # uvloop: cut off a moment ago; connection_lost is on its way.
                return
        self.timer = crowd.loop.call_later(crowd.pause, self._go_on)


class _SealingAttacker(_Attacker):
    """Makes its own records of TLS."""

    def _greet(self) -> None:
        assert self.crowd.context is not None
        self.sealing = Sealing(self.crowd.plan.ca)
        self.transport.write(self.sealing.begin())

    def data_received(self, data: bytes) -> None:
        was_open = self.sealing.is_open
        answer, plain = self.sealing.receive(data)
        self.transport.write(answer)
        if self.sealing.is_open and not was_open:
            self.transport.write(self.sealing.seal(self.crowd.handshake))
        if plain:
            super().data_received(plain)

    def _begin(self) -> None:
        # The message that all data belongs to.
        self.transport.write(self.sealing.seal(_BEGUN))
        self._go_on()

    def _next(self) -> bytes:
        if self.crowd.plan.kind == "key updates":
            return self.sealing.key_updates(_MANY)
        return self.sealing.empty_records(_MANY)


async def _main(plan: Plan) -> dict[str, int]:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), over.set)
    crowd = _Crowd(plan, loop)
    begun = loop.time()
    for number in range(plan.count):
        crowd.connect()
        wait = begun + (number + 1) / plan.opening - loop.time()
        if wait > 0.001:
            await asyncio.sleep(wait)
    print("all", flush=True)
    await over.wait()
    loop.remove_reader(sys.stdin.fileno())
    ends = dict(crowd.ends)
    crowd.is_over = True
    for attacker in list(crowd.open):
        attacker.transport.abort()
    for task in list(crowd.connecting):
        task.cancel()
    # Sockets are closed in the loop's next turns, and what is left with the process.
    await asyncio.sleep(0.1)
    return ends


def _run(plan: Plan) -> dict[str, int]:
    """Have room for as many sockets as the system allows."""
    # After a collection all that they should have done meanwhile would come at once.
    gc.disable()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if plan.yields:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    return uvloop.run(_main(plan))


if __name__ == "__main__":
    print(json.dumps(_run(Plan(**json.loads(sys.argv[1])))))
