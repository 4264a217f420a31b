"""A crowd of WebSocket clients in a process of its own: ``python -m tests.chaos.clients PLAN``.

They connect at a steady rate, whatever becomes of those before, send numbered messages, several at a
time, and note what comes back. When standard input ends, those that are open say their last messages and
Close, and the notes go to standard output. Frames are made and read by hand: a crowd has to be cheaper
than the service that it plays with. An answer is compared byte by byte with what is due next.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from tests.chaos.records import ABNORMAL, Record, write_records

MESSAGE_BYTES = 16
FRAME_BYTES = 6 + MESSAGE_BYTES
"""Of a client's message: header, mask, payload. All have this size, so bytes tell how many they are."""
HANDSHAKE = (
    "GET /chat?{number} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
_PATIENCE = 10.0
"""Seconds after which a client gives up: a handshake, or the end of a connection."""
_MASK = bytes(4)
_CLOSE = b"\x88\x82" + _MASK + (1000).to_bytes(2, "big")


@dataclass(frozen=True)
class Plan:
    """What the crowd does.

    Attributes:
        rate: New connections a second.
        at_once: How many more are opened in the first second.
        lifetime: Their mean length in seconds; 0: they stay, and come back when the service ends them.
        back: The most seconds until they do.
        most: How many connections are opened at that rate; 0: no end to them.
        burst: Messages sent at a time, and ``pause`` seconds from their answers to the next.
    """

    port: int
    rate: float
    lifetime: float
    at_once: int = 0
    most: int = 0
    burst: int = 3
    pause: float = 0.2
    back: float = 0.0

    def to_argument(self) -> str:
        return json.dumps(asdict(self))


class _Crowd:
    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop) -> None:
        self.plan = plan
        self.loop = loop
        self.records: list[Record] = []
        self.open: set[_Client] = set()
        self.connecting: set[asyncio.Task[None]] = set()
        self.over = asyncio.Event()

    async def run(self) -> None:
        plan = self.plan
        begun = self.loop.time()
        opened = 0
        while not self.over.is_set() and not 0 < plan.most <= opened:
            # As many as are due by now: a sleep that took too long is made up for.
            passed = self.loop.time() - begun
            due = int(passed * plan.rate + min(passed, 1.0) * plan.at_once) + 1
            for _ in range(opened, min(due, plan.most or due)):
                self.connect()
                opened += 1
            await asyncio.sleep(1 / (plan.rate + plan.at_once))
        await self.over.wait()
        end = self.loop.time() + _PATIENCE
        while self.connecting or self.open:
            for client in list(self.open):
                client.say_goodbye()
            if self.loop.time() > end:
                for client in list(self.open):
                    client.give_up()
            await asyncio.sleep(0.01)

    def connect(self) -> None:
        if self.over.is_set():
            return
        record = Record(len(self.records), time.monotonic())
        self.records.append(record)
        task = self.loop.create_task(self._connect(record))
        self.connecting.add(task)
        task.add_done_callback(self.connecting.discard)

    async def _connect(self, record: Record) -> None:
        client = _Client(self, record)
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.loop.create_connection(lambda: client, "127.0.0.1", self.plan.port)
        except ConnectionRefusedError:
            record.trouble = "refused"
        except ConnectionError:
            record.trouble = "reset"
        except TimeoutError:
            record.trouble = "late"
            # It may have connected in that very moment: uvloop closes it, and tells nobody.
            client.forget()
        except OSError as error:
            record.trouble = str(error)
        if not record.opened:
            record.ended = record.ended or time.monotonic()


class _Client(asyncio.Protocol):
    def __init__(self, crowd: _Crowd, record: Record) -> None:
        self.crowd = crowd
        self.record = record
        self.data = b""
        self.timer: asyncio.TimerHandle | None = None
        self.late: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.crowd.open.add(self)
        self.late = self.crowd.loop.call_later(_PATIENCE, self.give_up)
        port = self.crowd.plan.port
        self.transport.write(HANDSHAKE.format(port=port, number=self.record.number).encode())

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.record.opened and not self._read_head():
            return
        while self._read_frame():
            continue

    def connection_lost(self, exc: Exception | None) -> None:
        record, crowd = self.record, self.crowd
        record.ended = time.monotonic()
        self.forget()
        if not record.trouble:
            if isinstance(exc, ConnectionError):
                record.trouble = "reset"
            elif not record.code:
                record.trouble = "silent"
        record.code = record.code or (ABNORMAL if record.opened else 0)
        if not record.asked and not crowd.plan.lifetime and not crowd.over.is_set():
            crowd.loop.call_later(random.uniform(0.0, crowd.plan.back), crowd.connect)

    def forget(self) -> None:
        """It has ended."""
        self.crowd.open.discard(self)
        self._cancel_timers()

    def say_goodbye(self) -> None:
        """Send the last messages and Close in one go: all of them are to be answered before the Close."""
        if self.record.opened and not self.record.asked and not self.record.code:
            self.record.asked = True
            self._send(_CLOSE)
            self._expire()

    def give_up(self) -> None:
        self.record.trouble = self.record.trouble or "late"
        self.transport.abort()

    def _read_head(self) -> bool:
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *headers = self.data[:end].decode().split("\r\n")
        self.data = self.data[end + 4 :]
        record = self.record
        if not first.startswith("HTTP/1.1 101 "):
            record.trouble = f"status {first.split(' ')[1]}"
            self.transport.close()
            return False
        record.opened = time.monotonic()
        names = dict(line.split(": ", 1) for line in headers)
        record.worker = int(names.get("Worker", 0))
        if self.late is not None:
            self.late.cancel()
            self.late = None
        lifetime = self.crowd.plan.lifetime
        if lifetime:
            # Not all alike: some connections are open when something happens, others come and go.
            wait = random.uniform(0.0, 2 * lifetime)
            self.late = self.crowd.loop.call_later(wait, self.say_goodbye)
        self._send()
        return True

    def _read_frame(self) -> bool:
        data, record = self.data, self.record
        if len(data) < 2 or len(data) < 2 + data[1]:
            return False
        opcode, payload = data[0] & 0x0F, data[2 : 2 + data[1]]
        self.data = data[2 + data[1] :]
        if opcode == 0x1:
            if payload != self._message(record.answered):
                record.trouble = record.trouble or "disorder"
            record.answered += 1
            if record.answered == record.sent and not record.asked:
                self.timer = self.crowd.loop.call_later(self.crowd.plan.pause, self._send)
        elif opcode == 0x8:
            record.code = int.from_bytes(payload[:2], "big")
            if not record.asked:
                # The answer repeats the code; the server is the one to end the connection.
                self.transport.write(b"\x88\x82" + _MASK + payload[:2])
            self._expire()
        elif opcode == 0x9:
            self.transport.write(b"\x8a" + bytes([0x80 | len(payload)]) + _MASK + payload)
        return True

    def _message(self, number: int) -> bytes:
        return b"%09d-%06d" % (self.record.number, number)

    def _send(self, more: bytes = b"") -> None:
        record = self.record
        if record.code or self.transport.is_closing():
            return
        numbers = range(record.sent, record.sent + self.crowd.plan.burst)
        frames = [b"\x81\x90" + _MASK + self._message(number) for number in numbers]
        record.sent += len(frames)
        self.transport.write(b"".join(frames) + more)

    def _expire(self) -> None:
        self._cancel_timers()
        self.timer = None
        self.late = self.crowd.loop.call_later(_PATIENCE, self.give_up)

    def _cancel_timers(self) -> None:
        for timer in (self.timer, self.late):
            if timer is not None:
                timer.cancel()


async def _main(plan: Plan) -> list[Record]:
    loop = asyncio.get_running_loop()
    crowd = _Crowd(plan, loop)
    loop.add_reader(sys.stdin.fileno(), crowd.over.set)
    running = asyncio.create_task(crowd.run())
    await crowd.over.wait()
    loop.remove_reader(sys.stdin.fileno())
    await running
    return crowd.records


if __name__ == "__main__":
    write_records(sys.stdout, uvloop.run(_main(Plan(**json.loads(sys.argv[1])))))
