"""The list of requests, as it is put together of what workers say."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import BaseTestServer, TestServer

from mpchat.console.handlers.inspect_requests import SILENT, InspectRequests
from mpchat.console.options import InspectRequestsOptions
from mpchat.ipc.messages import OrderDone
from mpchat.ipc.reports import packets, send_report

DEAD = 999_999
"""The pid of a worker that says nothing"""


class Workers:
    """Answer a report; ``rows`` has theirs, by whether connections are asked for."""

    def __init__(self, rows: dict[bool, list[dict[str, Any]]]) -> None:
        self.rows = rows
        self.asked: list[dict[str, Any] | None] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.send: Callable[[int, list[dict[str, Any]]], Any] = send_report

    async def give(
        self, verb: str, *descriptors: int, arguments: dict[str, Any] | None = None
    ) -> OrderDone:
        assert verb == "requests"
        assert arguments is not None
        self.asked.append(arguments)
        work = self.send(os.dup(descriptors[0]), self.rows[arguments["open"]])
        self._tasks.add(asyncio.create_task(work))
        return OrderDone(1, 1)

    async def end(self) -> None:
        """Wait until all have reported, or know that nobody reads it."""
        async with asyncio.timeout(60):
            await asyncio.gather(*self._tasks)


@asynccontextmanager
async def serving(
    workers: Workers, pids: set[int], patience: float = 60
) -> AsyncIterator[BaseTestServer]:
    known: Any = SimpleNamespace(
        orders=workers, status=SimpleNamespace(ready_pids=lambda: set(pids))
    )
    app = web.Application()
    options = InspectRequestsOptions(path="/i")
    app.router.add_get("/i", InspectRequests(options, known, patience).handle)
    async with TestServer(app) as server:
        yield server


@asynccontextmanager
async def served(workers: Workers, pids: set[int]) -> AsyncIterator[Callable[..., Any]]:
    async with serving(workers, pids) as server, ClientSession() as session:

        async def ask(query: str = "") -> tuple[str, str | None]:
            async with session.get(server.make_url(f"/i{query}")) as response:
                return await response.text(), response.headers.get(SILENT)

        yield ask


async def test_requests_come_before_connections() -> None:
    workers = Workers({False: [{"n": 1}, {"n": 2}], True: [{"n": 3}, {"n": 4, "x": "x" * 50_000}]})
    async with served(workers, {os.getpid()}) as ask:
        text, silent = await ask()
        assert [row["n"] for row in json.loads(text)] == [1, 2, 3, 4]
        assert silent is None
        assert workers.asked == [{"open": False, "body": False}, {"open": True, "body": False}]
        await ask("?body=1")
        assert [asked and asked["body"] for asked in workers.asked[2:]] == [True, True]


async def test_without_any_the_list_is_empty_and_a_silent_worker_is_named() -> None:
    async with served(Workers({False: [], True: []}), {os.getpid(), DEAD}) as ask:
        assert await ask() == ("[]\n", str(DEAD))


async def test_a_list_that_ends_in_the_middle_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def dies(descriptor: int, rows: list[dict[str, Any]]) -> None:
        """Report whole lists of requests, and only the beginning of a list of connections."""
        sent = [*packets(rows)]
        if rows:
            sent.pop()
        for packet in sent:
            os.write(descriptor, packet)
        os.close(descriptor)

    workers = Workers({False: [], True: [{"n": number, "x": "x" * 20_000} for number in range(3)]})
    workers.send = dies
    async with served(workers, {os.getpid()}) as ask:
        text, silent = await ask()
    assert [row["n"] for row in json.loads(text)] == [0, 1]
    assert silent is None
    assert caplog.messages == [f"worker pid {os.getpid()} did not tell all of its connections"]


LARGE = [{"n": number, "x": "x" * 100_000} for number in range(200)]
"""More than the kernel keeps for a client that does not read"""


async def begin_to_read(server: BaseTestServer) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /i HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await reader.readexactly(15) == b"HTTP/1.1 200 OK"
    return writer


async def test_a_client_that_leaves_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers({False: [], True: LARGE})
    async with serving(workers, {os.getpid()}) as server:
        writer = await begin_to_read(server)
        writer.transport.abort()
        # Their report is over as well: nobody reads it.
        await workers.end()
    assert caplog.messages == []


async def test_a_client_that_does_not_read_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers({False: [], True: LARGE})
    async with serving(workers, {os.getpid()}, patience=0.01) as server:
        writer = await begin_to_read(server)
        # A reader takes a little, and stops.
        await workers.end()
        writer.transport.abort()
    assert caplog.messages == ["a client that does not read the list of requests is cut off"]
