"""What permessage-deflate costs: the tables of docs/compression.md, in a minute on a quiet machine.

Memory is that of the worker, by connection that has sent and received a few messages and is idle now.
CPU time is that of the worker, by message echoed, one at a time on each of 16 connections.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import yaml
from bench.processes import cpu_ns, pss_kib
from websockets.asyncio.client import ClientConnection, connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from mpchat.testsuite.service import Service

FEW, MANY = 100, 1_100
SETTINGS: dict[str, Any] = {
    "off": False,
    "`true`: 12 bits": True,
    "9 bits": {"server-max-window-bits": 9, "client-max-window-bits": 9},
    "15 bits": {"server-max-window-bits": 15, "client-max-window-bits": 15},
    "no context takeover": {
        "server-no-context-takeover": True,
        "client-no-context-takeover": True,
    },
}
SIZES = (100, 256, 1_024, 16_384, 65_536)
_TEXT = "the quick brown fox jumps over a lazy dog user channel message order price status"


def message(size: int) -> str:
    """Return JSON lines as a chat might send them."""
    words, lines = _TEXT.split(), list[str]()
    while sum(map(len, lines)) < size:
        text = " ".join(random.choices(words, k=random.randrange(3, 15)))
        line = {"type": "message", "id": random.randrange(10**9), "ts": time.time(), "text": text}
        lines.append(json.dumps(line))
    return "\n".join(lines)[:size]


@contextmanager
def serving(setting: Any) -> Iterator[tuple[str, int]]:
    """Yield the address of a service of one worker, and the worker's pid."""
    listener = {"port": 0, "task_processor": "main", "max_connections": 100_000}
    echo = {"path": "/chat", "permessage-deflate": setting}
    logging = {"fs-task-processor": "fs", "loggers": {"default": {"file_path": "@null"}}}
    manager = {
        "task_processors": {"main": {"worker_threads": 1}, "fs": {"worker_threads": 1}},
        "default_task_processor": "main",
        "components": {
            "server": {"listener": listener},
            "logging": logging,
            "websocket-handler": echo,
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "static_config.yaml"
        config.write_text(yaml.safe_dump({"components_manager": manager}))
        command = [sys.executable, "-m", "mpchat", "serve", "-c", str(config)]
        service = Service(command, Path(folder))
        try:
            service.wait_ready()
            (worker,) = service.pids("worker")
            yield f"ws://127.0.0.1:{service.port}/chat", worker
        finally:
            service.close()


@asynccontextmanager
async def clients(address: str, number: int) -> AsyncIterator[list[ClientConnection]]:
    """Yield so many connections; each offers what browsers do."""
    offer = ClientPerMessageDeflateFactory(client_max_window_bits=True)
    opened: list[ClientConnection] = []
    try:
        while len(opened) < number:
            connection = await connect(
                address, compression=None, extensions=[offer], ping_interval=None
            )
            opened.append(connection)
        yield opened
    finally:
        await asyncio.gather(*(connection.close() for connection in opened))


async def echo(connection: ClientConnection, messages: list[str]) -> None:
    """Have messages come back, one after the other."""
    for sent in messages:
        await connection.send(sent)
        assert await connection.recv() == sent


async def memory(setting: Any) -> float:
    """Return the KiB of an idle connection."""
    found: list[int] = []
    # Enough to fill a window of 15 bits in both directions.
    messages = [message(8_000) for _ in range(5)]
    for number in (FEW, MANY):
        with serving(setting) as (address, worker):
            async with clients(address, number) as opened:
                for connection in opened:
                    await echo(connection, messages)
                await asyncio.sleep(0.2)
                found.append(pss_kib([worker]))
    return (found[1] - found[0]) / (MANY - FEW)


async def cpu(setting: Any, sizes: tuple[int, ...]) -> list[float]:
    """Return the µs of a message, for each size."""
    costs: list[float] = []
    with serving(setting) as (address, worker):
        async with clients(address, 16) as opened:
            for size in sizes:
                messages = [message(size) for _ in range(20)]
                rounds = min(max(2, 60_000 // size), 60)
                for connection in opened:
                    await echo(connection, messages)
                before = cpu_ns([worker])
                for _ in range(rounds):
                    await asyncio.gather(*(echo(connection, messages) for connection in opened))
                await asyncio.sleep(0.05)
                costs.append((cpu_ns([worker]) - before) / 1000 / (rounds * 16 * len(messages)))
    return costs


def main() -> None:
    """Print the tables."""
    random.seed(1)
    print("| Option | KiB for an idle connection |\n| --- | ---: |")
    for name, setting in SETTINGS.items():
        print(f"| {name} | {asyncio.run(memory(setting)):.1f} |", flush=True)
    print(f"\n| Option | {' | '.join(f'{size:,} B' for size in SIZES)} |")
    print("| --- |" + " ---: |" * len(SIZES))
    for name, setting in SETTINGS.items():
        costs = asyncio.run(cpu(setting, SIZES))
        print(f"| {name} | {' | '.join(f'{cost:.0f}' for cost in costs)} |", flush=True)


if __name__ == "__main__":
    main()
