"""A service whose handlers log a lot, clients that have them do it, and how its lines are checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mpchat.loglines.line import CUT, LINE_BYTES
from mpchat.testsuite.clients import WebsocketClient
from tests.kit.lines import read_line
from tests.kit.waiting import eventually

WORKERS = 8
LINES = 20
"""For each message of a client."""


APP = ("--app", "handlers:components")


def talkers(**default: Any) -> dict[str, Any]:
    """A service of talkers with this default logger."""
    return {
        "task_processors.main-task-processor.worker_threads": WORKERS,
        "websocket-handler": None,
        "handler-talker": {"path": "/chat"},
        # Lines that a busy machine adds would be among those that are counted.
        "server.slow-callback-threshold": "0s",
        "logging.loggers": {"default": default},
    }


class Talk:
    """Clients that have the service log, until they are told to stop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = False
        self.pids: set[str] = set()
        self.lines = self.clients = 0

    @property
    def logged(self) -> int:
        """All lines that there should be; each connection has one for its handshake and its end."""
        return self.lines + 2 * self.clients

    async def client(self) -> None:
        self.clients += 1
        async with WebsocketClient(self._port).get("chat") as chat:
            while not self._over:
                await chat.send(str(LINES))
                self.pids.add(str(await chat.recv()))
                self.lines += LINES

    async def said(self, lines: int) -> None:
        """Wait until that many more lines have been logged."""
        wanted = self.lines + lines
        await eventually(lambda: self.lines >= wanted, f"{wanted} lines")

    @asynccontextmanager
    async def going_on(self, clients: int = 24) -> AsyncIterator[None]:
        """Talk while the block runs, and until every worker has had something to say."""
        tasks = [asyncio.create_task(self.client()) for _ in range(clients)]
        yield
        while len(self.pids) < WORKERS:
            tasks.append(asyncio.create_task(self.client()))
            await self.said(LINES)
        self._over = True
        await asyncio.gather(*tasks)


def check_lines(log_format: str, files: Iterable[Path]) -> tuple[int, set[str]]:
    """Take every line apart; return how many talkers' lines there were, and of which processes."""
    numbers: dict[str, list[int]] = {}
    pids = set()
    for file in files:
        for line in file.read_bytes().splitlines(keepends=True):
            assert len(line) <= LINE_BYTES
            fields = read_line(log_format, line)
            assert {"timestamp", "level", "module", "pid", "worker"} <= fields.keys()
            # The template says how the hot path runs before there is a generation.
            assert "generation" in fields or fields["worker"] == "template"
            if fields["module"] != "handlers":
                continue
            number = int(fields["text"].split()[1])
            padding = "\t=ä\n" * (2000 if number % 10 == 9 else number % 50)
            whole = f"line {number} [{padding}]"
            if fields["text"] != whole:
                beginning, end = fields["text"].split(CUT)
                assert whole.startswith(beginning)
                assert whole.endswith(end)
                assert len(line) > LINE_BYTES - 10
            numbers.setdefault(fields["connection"], []).append(number)
            pids.add(fields["pid"])
    for found in numbers.values():
        assert sorted(found) == list(range(len(found)))
    return sum(map(len, numbers.values())), pids
