"""Requests with bodies: who may send how much of one, in which time, and how much a worker holds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator

import pytest
from websockets.http11 import Response

from mpchat.components.context import Context
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.http.body import CHUNKS_AT_A_TIME
from mpchat.http.request import HttpRequest
from mpchat.http.responses import response
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.websocket.thresholds import Thresholds
from tests.unit.server.test_protocol import made, serve
from tests.unit.websocket.rig import Worker, on_uvloop, until

Address = tuple[str, int]
CHUNKED = b"Transfer-Encoding: chunked"
END = b"0\r\n\r\n"


class Count(HttpHandlerBase):
    """Tells how large the body is, once it may."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.may_answer = asyncio.Event()
        self.asked = 0

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        self.asked += 1
        await self.may_answer.wait()
        return response(200, json={"size": len(request.body)})


def count(**options: object) -> Count:
    return made(Count, "handler-count", path="/count", method="POST", **options)


def post(*lines: bytes, path: bytes = b"/count") -> bytes:
    return b"\r\n".join([b"POST %s HTTP/1.1" % path, b"Host: a", *lines, b"", b""])


def sized(length: int, *lines: bytes) -> bytes:
    return post(b"Content-Length: %d" % length, *lines)


@contextlib.asynccontextmanager
async def connect(address: Address) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, object]]:
        """Return status and JSON of the next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
        body = await self.reader.readexactly(int(length)) if length else b""
        return status, json.loads(body) if body else {}


@on_uvloop
async def test_lengths_and_chunks_one_after_another(worker: Worker) -> None:
    handler = count()
    handler.may_answer.set()
    async with serve(worker, more=[handler]) as (server, address), connect(address) as client:
        client.send(
            sized(3) + b"abc" + post(CHUNKED) + b"2;x\r\nab\r\n3\r\ncde\r\n" + END + sized(0)
        )
        for size in (3, 5, 0):
            assert await client.answer() == (200, {"size": size})
        for piece in (post(CHUNKED), b"1", b"\r\na\r", b"\n0", b"\r\nX: y", b"\r\n\r\n"):
            client.send(piece)
            await asyncio.sleep(0)
        assert await client.answer() == (200, {"size": 1})
        assert server.services.bodies.held == 0


@on_uvloop
async def test_100_comes_before_the_body_and_only_if_it_is_wanted(worker: Worker) -> None:
    handler = count(max_request_size=10)
    handler.may_answer.set()
    expect = b"Expect: 100-continue"
    async with serve(worker, more=[handler]) as (_server, address):
        async with connect(address) as client:
            for head, body in ((sized(3, expect), b"abc"), (post(CHUNKED, expect), b"0\r\n\r\n")):
                client.send(head)
                assert await client.answer() == (100, {})
                client.send(body)
                assert (await client.answer())[0] == 200
        for head, status in (
            (sized(11, expect), 413),
            (post(CHUNKED, expect, path=b"/nowhere"), 404),
            (post(CHUNKED, expect, path=b"/ping"), 405),
        ):
            async with connect(address) as client:
                client.send(head)
                assert (await client.answer())[0] == status
                assert await client.reader.read() == b""


@pytest.mark.covers("HandlerBase.max_request_size")
@on_uvloop
async def test_a_handler_has_its_own_largest_body(worker: Worker) -> None:
    handlers = [
        count(max_request_size=10),
        made(Count, "handler-large", path="/large", method="POST", max_request_size=2_000_000),
    ]
    for handler in handlers:
        handler.may_answer.set()
    async with serve(worker, more=handlers) as (_server, address):
        async with connect(address) as client:
            client.send(sized(10) + b"x" * 10)
            assert await client.answer() == (200, {"size": 10})
            # More than the listener allows by default.
            client.send(post(b"Content-Length: 1500000", path=b"/large") + b"x" * 1_500_000)
            assert await client.answer() == (200, {"size": 1_500_000})
        # Of what is announced, nothing has to come.
        for sent in (sized(11), post(CHUNKED) + b"b\r\n", post(CHUNKED) + b"6\r\nabcdef\r\n5\r\n"):
            async with connect(address) as client:
                client.send(sent)
                assert await client.answer() == (
                    413,
                    {"code": "payload_too_large", "message": "the body is too large"},
                )
                assert await client.reader.read() == b""
    assert worker.limits["max_request_size"] == 3


@on_uvloop
async def test_a_body_that_stops_is_refused_by_name(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with (
        serve(worker, {"body-timeout": "50ms"}, more=[count()]) as (_server, address),
        connect(address) as client,
    ):
        client.send(post(CHUNKED) + b"3\r\na")
        assert (await client.answer())[0] == 408
    assert worker.limits["body-timeout"] == 1
    assert "POST /count 408 from" in caplog.text


@on_uvloop
async def test_what_a_worker_holds_of_bodies_has_a_limit(worker: Worker) -> None:
    worker.go_by(Thresholds(max_body_bytes=1000))
    handler = count(max_request_size=600)
    defaults = {"listener": {"port": 0, "handler-defaults": {"max_request_size": 600}}}
    async with serve(worker, defaults, more=[handler]) as (server, address):
        bodies = server.services.bodies
        async with connect(address) as slow, connect(address) as quick, connect(address) as last:
            slow.send(sized(500) + b"x" * 400)
            await until(lambda: bodies.held == 400)
            quick.send(post(CHUNKED) + b"1f4\r\n" + b"x" * 400)
            await until(lambda: bodies.held == 800)
            # Its handler has it now, and the one that took longest goes.
            last.send(sized(300) + b"x" * 300)
            status, told = await slow.answer()
            assert (status, told["code"]) == (503, "service_unavailable")
            await until(lambda: handler.asked == 1)
            assert bodies.held == 700
            quick.send(b"x" * 100 + b"\r\n" + END)
            await until(lambda: handler.asked == 2)
            assert bodies.held == 800
            # What handlers work on is not given up.
            async with connect(address) as beyond:
                beyond.send(sized(201) + b"x" * 201)
                assert (await beyond.answer())[0] == 503
            handler.may_answer.set()
            assert await quick.answer() == (200, {"size": 500})
            assert await last.answer() == (200, {"size": 300})
            assert bodies.held == 0
            # Who leaves gives its part back.
            quick.send(sized(500) + b"x" * 400)
            await until(lambda: bodies.held == 400)
            quick.writer.close()
            await until(lambda: bodies.held == 0)
    assert worker.limits["request-bodies"] == 2


@on_uvloop
async def test_tiny_chunks_take_no_more_than_their_turn(worker: Worker) -> None:
    # Each turn does the work of two steps.
    worker.go_by(Thresholds(turn_work=400_000))
    handler = count()
    handler.may_answer.set()
    async with serve(worker, more=[handler]) as (server, address), connect(address) as client:
        client.send(post(CHUNKED) + b"1\r\nx\r\n" * (10 * CHUNKS_AT_A_TIME) + END)
        sizes = set()
        answer = asyncio.create_task(client.answer())
        while not answer.done():
            await asyncio.sleep(0)
            sizes.add(server.services.bodies.held)
        assert await answer == (200, {"size": 10 * CHUNKS_AT_A_TIME})
        # Others had their turn while so much of it was decoded.
        assert len(sizes) > 4


@on_uvloop
async def test_a_worker_that_ends_answers_what_has_begun(worker: Worker) -> None:
    handler = count()
    async with (
        serve(worker, more=[handler]) as (server, address),
        connect(address) as asked,
        connect(address) as sending,
        connect(address) as idle,
    ):
        asked.send(sized(3) + b"abc")
        sending.send(sized(3) + b"a")
        idle.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await idle.answer())[0] == 200
        await until(lambda: server.services.bodies.held == 4)
        ending = asyncio.create_task(server.drain.retire(1012, 0.0, 30.0))
        assert await idle.reader.read() == b""
        sending.send(b"bc")
        await until(lambda: handler.asked == 2)
        handler.may_answer.set()
        for client in (asked, sending):
            assert await client.answer() == (200, {"size": 3})
            # It was the last answer.
            assert await client.reader.read() == b""
            client.writer.close()
        idle.writer.close()
        await ending


@on_uvloop
async def test_what_has_no_answer_by_the_deadline_is_cut_off(worker: Worker) -> None:
    handler = count(max_requests_in_flight=1)
    board = Scoreboard.create()
    async with serve(worker, board=board, more=[handler]) as (server, address):
        async with connect(address) as client:
            client.send(sized(3) + b"abc")
            await until(lambda: handler.asked == 1)
            assert board.handler_connections(3, 1) == 1
            await server.drain.retire(1012, 0.0, 0.05)
            assert await client.reader.read() == b""
        await until(lambda: board.handler_connections(3, 1) == 0)
        assert server.services.bodies.held == 0
