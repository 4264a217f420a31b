"""What nats-py takes of a process in each direction: as a broker has it, through mpchat's connection.

Prints JSON: microseconds of CPU time for a message that is published without an answer, for one that
comes on a subscription, and for a question with its answer; and how many of them came in a second.

    nats_py.py URL RATE SECONDS

Rules. Each direction has a process of its own. Subjects, headers and sizes are those of a room, but
nothing is stored: the server only passes messages on.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection as Pipe
from typing import Any, NoReturn

import uvloop

from mpchat.jetstream.connection import Connection
from mpchat.jetstream.inbox import Inbox
from mpchat.jetstream.messages import Message, live_of
from mpchat.jetstream.options import JetStreamOptions

TICK = 0.001
BODY = b"\x01\x01\x00\x00" + b"x" * 64
PUBLISHED = {"Nats-Msg-Id": "0123456789abcdef-12345", "Nats-Expected-Stream": "ROOMS"}
LIVE = {
    **PUBLISHED,
    "Nats-Stream": "ROOMS",
    "Nats-Subject": "rooms.YmVuY2gtMQ",
    "Nats-Sequence": "1234567",
    "Nats-Time-Stamp": "2026-11-29T01:28:40.354397839Z",
    "Nats-Last-Sequence": "1234560",
}
LIVE_SUBJECT, ASKED = "live.rooms.YmVuY2gtMQ", "rooms.YmVuY2gtMQ"
ANSWER = b'{"stream":"ROOMS","seq":1234567}'


def give_up(why: str) -> NoReturn:
    raise SystemExit(f"the connection to NATS is lost: {why}")


async def connected(url: str) -> Connection:
    options = JetStreamOptions(servers=[url])
    connection = Connection(
        options, on_up=lambda: None, on_lost=give_up, on_error=lambda text, _: give_up(text)
    )
    await connection.connect(10)
    return connection


async def paced(
    rate: int, seconds: float, work: Callable[[], Awaitable[None]]
) -> tuple[int, float]:
    """Do work at a rate, or as often as it can be done; return how often, and each one's CPU time, µs."""
    begin, cpu, done = time.monotonic(), time.process_time(), 0
    while (passed := time.monotonic() - begin) < seconds:
        for _ in range(int(rate * passed) - done):
            await work()
            done += 1
        await asyncio.sleep(TICK)
    return done, (time.process_time() - cpu) * 1e6 / max(done, 1)


def receive(url: str, pipe: Pipe) -> None:
    """Take live messages until one is empty; tell how many came and the CPU time of each."""

    async def main() -> None:
        ended = asyncio.get_running_loop().create_future()
        count = 0

        def take(message: Message) -> None:
            nonlocal count
            if not message.data:
                ended.set_result(None)
                return
            live_of(message)
            count += 1

        connection = await connected(url)
        await connection.subscribe(LIVE_SUBJECT, take)
        await connection.flush()
        cpu = time.process_time()
        pipe.send("ready")
        await ended
        pipe.send((count, (time.process_time() - cpu) * 1e6 / max(count, 1)))
        await connection.close()

    uvloop.run(main())


def answer(url: str, pipe: Pipe) -> None:
    """Answer questions until the pipe says so. It has nats-py alone: a broker answers nobody at NATS."""
    import nats  # noqa: PLC0415 - only here

    async def main() -> None:
        client = await nats.connect(url)

        async def reply(message: Any) -> None:
            await message.respond(ANSWER)

        await client.subscribe(ASKED, cb=reply)
        await client.flush()
        pipe.send("ready")
        await asyncio.to_thread(pipe.recv)
        await client.close()

    uvloop.run(main())


async def publishing(url: str, rate: int, seconds: float) -> tuple[int, float]:
    connection = await connected(url)
    found = await paced(rate, seconds, lambda: connection.publish(LIVE_SUBJECT, BODY, headers=LIVE))
    await connection.publish(LIVE_SUBJECT)
    await connection.flush()
    await connection.close()
    return found


async def asking(url: str, rate: int, seconds: float) -> tuple[int, float]:
    connection = await connected(url)
    inbox = Inbox(connection)
    tasks: set[asyncio.Task[Any]] = set()

    async def ask() -> None:
        task = asyncio.create_task(inbox.ask(ASKED, BODY, headers=PUBLISHED, timeout=10))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    cpu = time.process_time()
    done, _ = await paced(rate, seconds, ask)
    await asyncio.gather(*tasks)
    each = (time.process_time() - cpu) * 1e6 / max(done, 1)
    await connection.close()
    return done, each


def beside(work: Callable[[str, Pipe], None], url: str) -> tuple[multiprocessing.Process, Pipe]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=work, args=(url, theirs))
    process.start()
    if not ours.poll(30):
        raise SystemExit(f"{work.__name__} did not begin")
    ours.recv()
    return process, ours


def main() -> None:
    url, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    multiprocessing.set_start_method("spawn")
    process, pipe = beside(receive, url)
    sent, publish_us = uvloop.run(publishing(url, rate, seconds))
    received, receive_us = pipe.recv()
    process.join()
    if received != sent:
        raise SystemExit(f"{sent} messages were sent, and {received} came")
    process, pipe = beside(answer, url)
    asked, ask_us = uvloop.run(asking(url, rate, seconds))
    pipe.send("end")
    process.join()
    found = {
        "publish_us": publish_us,
        "receive_us": receive_us,
        "ask_us": ask_us,
        "per_second": sent / seconds,
        "asked_per_second": asked / seconds,
    }
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
