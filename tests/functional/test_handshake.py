"""What clients send on the service's port, by the rules of HTTP and WebSocket, and what they are told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import random
import re
import socket
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.service import Service, ServiceFailed
from tests.functional.conftest import Serve
from tests.fuzz.making import make
from tests.kit.bodies import BODIES
from tests.kit.deciding import decided
from tests.kit.requests import CASES, CHAT, KEY, PING, Case, plain, shake
from tests.kit.waiting import eventually

pytestmark = pytest.mark.shared_service

ACCEPT = base64.b64encode(
    hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
).decode()
APP = """
from mpchat import HttpHandlerBase, WebsocketHandlerBase, default_component_list, response


class Rooms(WebsocketHandlerBase):
    name = "handler-rooms"

    async def handle(self, chat, context):
        async for message in chat:
            await chat.send(message)


class Large(HttpHandlerBase):
    name = "handler-large"

    async def handle_request(self, request, context):
        return response(200, "x" * 100_000)


class Guarded(WebsocketHandlerBase):
    name = "handler-guarded"

    async def handle_handshake(self, request, context):
        context.response_headers.append(("Room", context.path_params["room"]))
        if "Refuse" in request.headers:
            return response(403, "no")

    async def handle(self, chat, context):
        await chat.recv()


class Forgetful(HttpHandlerBase):
    name = "handler-forgetful"

    async def handle_request(self, request, context):
        pass


components = default_component_list()
for cls in (Rooms, Large, Guarded, Forgetful):
    components.append(cls)
"""
HELLO, HELLO_BACK = b"\x81\x82\x00\x00\x00\x00hi", b"\x81\x02hi"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@contextlib.asynccontextmanager
async def connected(
    port: int,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("localhost", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    status_line, *lines = head[:-4].decode("latin-1").split("\r\n")
    version, status, _ = status_line.split(" ", 2)
    assert version == "HTTP/1.1"
    pairs = [line.split(": ", 1) for line in lines]
    headers = {name.lower(): value for name, value in pairs}
    assert len(headers) == len(pairs), head
    return int(status), headers


async def try_case(port: int, case: Case) -> str | None:
    """Return what is wrong with the answer."""
    try:
        return await _try_case(port, case)
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
        return repr(error)


async def _try_case(port: int, case: Case) -> str | None:
    async with connected(port) as (reader, writer):
        writer.write(case.data)
        status, headers = await read_head(reader)
        if status == 100:
            status, headers = await read_head(reader)
        if status != case.status:
            return f"{status}, expected {case.status}"
        for name, value in case.headers.items():
            if headers.get(name.lower()) != value:
                return f"{name}: {headers.get(name.lower())}, expected {value}"
        parsedate_to_datetime(headers["date"])
        if status == 101:
            return await _try_chat(reader, writer, headers)
        # RFC 9110, 8.6: no length in a 204.
        length = 0 if status == 204 else int(headers["content-length"])
        length = 0 if case.data.startswith(b"HEAD") else length
        body = await asyncio.wait_for(reader.readexactly(length), 30)
        connection = [name.strip().lower() for name in headers.get("connection", "").split(",")]
        # Whoever sends Upgrade lists it in Connection (RFC 9110, 7.8).
        if ("upgrade" in headers) != ("upgrade" in connection):
            return f"Upgrade and Connection: {connection}"
        if status != 200 and length and not body.strip():
            return "no reason"
        if "close" in connection:
            return "more than one answer" if await asyncio.wait_for(reader.read(), 30) else None
        # What follows a handshake may be frames, which nobody must take for a request.
        if b"Upgrade:" in case.data:
            return "no Connection: close"
        writer.write(plain())
        return None if (await read_head(reader))[0] == 200 else "the next request was misread"


async def _try_chat(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]
) -> str | None:
    if headers["sec-websocket-accept"] != ACCEPT:
        return f"Sec-WebSocket-Accept: {headers['sec-websocket-accept']}"
    if (headers["upgrade"].lower(), headers["connection"].lower()) != ("websocket", "upgrade"):
        return f"Upgrade: {headers['upgrade']}, Connection: {headers['connection']}"
    # RFC 9110, 8.6 and RFC 6455, 4.2.2: nothing that was not asked for.
    never = {"content-length", "transfer-encoding", "sec-websocket-protocol"}
    if never & headers.keys():
        return f"{never & headers.keys()} in 101"
    writer.write(HELLO)
    if await asyncio.wait_for(reader.readexactly(len(HELLO_BACK)), 30) != HELLO_BACK:
        return "no echo"
    return None


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "rooms.py").write_text(APP)
    return [*service_command, "--app", "rooms:components"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    paths = {"rooms": "/rooms/{room}", "large": "/large", "guarded": "/guarded/{room}"}
    for name, path in {**paths, "forgetful": "/forgetful"}.items():
        components = service_config_yaml["components_manager"]["components"]
        components[f"handler-{name}"] = {"path": path}
    return service_config_yaml


async def test_every_rule_of_a_request(service_port: int) -> None:
    wrong = {
        case.name: problem
        for case in (*CASES, *BODIES)
        if (problem := await try_case(service_port, case)) is not None
    }
    text = "".join(f"\n{name}: {problem}" for name, problem in wrong.items())
    assert not wrong, text


async def test_random_requests_in_random_pieces_are_decided_the_same(
    service_port: int,
) -> None:
    rng = random.Random(2616)
    for _ in range(500):
        data = make(rng).data
        expected = decided(data)
        async with connected(service_port) as (reader, writer):
            cuts = sorted(rng.choices(range(len(data)), k=rng.choice((0, 1, 5))))
            for begin, end in itertools.pairwise([0, *cuts, len(data)]):
                writer.write(data[begin:end])
                await asyncio.sleep(0)
            if expected is None:
                writer.write_eof()
            status = 100
            while status == 100:
                status, _headers = await read_head(reader)
            assert status == (expected or 400), data


async def test_no_trickle_stretches_the_time_for_a_head(serve: Serve) -> None:
    # Empty lines, then a head, byte by byte: on a new connection, and behind a first request.
    trickle = b"\r\n" * 4 + b"GET /chat HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 9999
    with serve({"server.handshake-timeout": "1s"}) as service:
        for before in (b"", plain()):
            async with connected(service.port) as (reader, writer):
                if before:
                    writer.write(before)
                    assert (await read_head(reader))[0] == 200
                answer = asyncio.create_task(read_head(reader))
                deadline = asyncio.get_running_loop().time() + 30
                for byte in trickle:
                    writer.write(bytes([byte]))
                    await asyncio.wait([answer], timeout=0.02)
                    if answer.done():
                        break
                    assert asyncio.get_running_loop().time() < deadline
                status, headers = await answer
                assert (status, headers["connection"]) == (408, "close")


async def test_a_request_that_ends_early_is_told_so(service_port: int) -> None:
    async with connected(service_port) as (reader, writer):
        writer.write(shake()[:-2])
        writer.write_eof()
        assert (await read_head(reader))[0] == 400
    async with connected(service_port) as (reader, writer):
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_requests_may_come_before_their_turn(service_port: int) -> None:
    async with connected(service_port) as (reader, writer):
        nowhere = plain("GET /nowhere HTTP/1.1")
        writer.write(plain() + nowhere * 100 + b"\r\n" + shake() + HELLO)
        for status in (200, *[404] * 100, 101):
            found, headers = await read_head(reader)
            assert found == status
            await reader.readexactly(int(headers.get("content-length", "0")))
        assert await asyncio.wait_for(reader.readexactly(len(HELLO_BACK)), 30) == HELLO_BACK


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (shake("GET /nowhere HTTP/1.1"), 404),
        (shake(sec_websocket_key=None), 400),
        (shake(sec_websocket_version="8"), 426),
        (shake(upgrade="h2c"), 426),
        (shake(PING), 200),
    ],
)
async def test_what_follows_a_handshake_is_never_a_request(
    service_port: int, refused: bytes, status: int
) -> None:
    async with connected(service_port) as (reader, writer):
        writer.write(refused + plain())
        found, headers = await read_head(reader)
        assert (found, "close" in headers["connection"]) == (status, True)
        await reader.readexactly(int(headers["content-length"]))
        assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_a_handshake_is_a_get_whatever_else_the_path_takes(serve: Serve) -> None:
    with serve({"websocket-handler.method": "GET,POST,BREW"}) as service:
        for method, status in {
            "GET": 101,
            "POST": 405,
            "HEAD": 405,
            "BREW": 405,
            "PUT": 405,
        }.items():
            async with connected(service.port) as (reader, writer):
                writer.write(shake(f"{method} /chat HTTP/1.1"))
                found, headers = await read_head(reader)
                assert (method, found) == (method, status)
                if status == 405 and method != "PUT":
                    assert headers["allow"] == "GET"


async def test_100_comes_before_101_and_before_a_body(service_port: int) -> None:
    async with connected(service_port) as (reader, writer):
        writer.write(plain(PING, "Expect: 100-continue", "Content-Length: 2"))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30) == CONTINUE
        writer.write(b"hi")
        assert (await read_head(reader))[0] == 200
        writer.write(shake(CHAT, "Expect: 100-Continue"))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30) == CONTINUE
        assert (await read_head(reader))[0] == 101


@pytest.mark.parametrize("more", [(), ("Refuse: please",)])
async def test_no_header_of_an_answer_holds_another(
    supervisor: Service, more: tuple[str, ...]
) -> None:
    for room, expected in {
        "blue%20one": 403 if more else 101,
        "a%0D%0AX-Admin: 1": 500,
    }.items():
        async with connected(supervisor.port) as (reader, writer):
            writer.write(shake(f"GET /guarded/{room.replace(' ', '%20')} HTTP/1.1", *more))
            status, headers = await read_head(reader)
            assert status == expected
            assert headers.get("room") == ("blue one" if status != 500 else None)
            assert "x-admin" not in headers
    await eventually(lambda: "InvalidHeaderValue" in supervisor.stderr(), "traceback")


async def test_a_handler_that_forgets_to_answer_is_answered_for(service_port: int) -> None:
    async with connected(service_port) as (reader, writer):
        writer.write(plain("GET /forgetful HTTP/1.1") + plain())
        status, headers = await read_head(reader)
        assert status == 500
        await reader.readexactly(int(headers["content-length"]))
        assert (await read_head(reader))[0] == 200


async def test_who_reads_no_answers_is_asked_no_more(service_port: int) -> None:
    loop = asyncio.get_running_loop()
    requests = plain("GET /large HTTP/1.1", "X: " + "y" * 8000) * 10
    with socket.create_connection(("localhost", service_port)) as client:
        client.setblocking(False)
        # Far more than all buffers between us hold; without a limit all of it would be taken.
        with pytest.raises(TimeoutError):
            for _ in range(2000):
                await asyncio.wait_for(loop.sock_sendall(client, requests), 2)
        # And it goes on as soon as we read.
        answers = 0
        while answers < 200:
            answers += (await asyncio.wait_for(loop.sock_recv(client, 1 << 20), 30)).count(
                b"200 OK"
            )


@pytest.mark.covers("WebsocketOptions.allowed-origins")
async def test_allowed_origins(serve: Serve) -> None:
    options = {
        "websocket-handler.allowed-origins": [
            "https://example.com",
            "https://*.example.org",
            "file://",
        ]
    }
    expected = {
        "https://example.com": 101,
        "https://a.example.org": 101,
        "http://example.com": 403,
        "https://example.org": 403,
        "http://localhost": 403,
        "file://": 101,
        "null": 403,
    }
    with serve(options) as service:
        for origin, status in expected.items():
            async with connected(service.port) as (reader, writer):
                writer.write(shake(CHAT, f"Origin: {origin}"))
                assert (await read_head(reader))[0] == status, origin
        async with connected(service.port) as (reader, writer):
            writer.write(shake(CHAT, "Cookie: a=b"))
            assert (await read_head(reader))[0] == 101
        # A browser shows its user neither status nor body: the log has to say why.
        line = re.compile(
            r"text=GET /chat 403 from \S+: this origin is not among the allowed ones\n"
        )
        await eventually(lambda: line.search(service.stderr()), "the reason in the log")
    wrong = {"websocket-handler.allowed-origins": ["https://example.com/"]}
    with pytest.raises(ServiceFailed, match="expected an origin such as"), serve(wrong):
        pass
