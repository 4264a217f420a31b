"""Clients that are slow, half-closed or beyond a limit, on plain HTTP: who is cut off and who is not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from pathlib import Path

import pytest

from mpchat.testsuite.service import Service
from tests.functional.conftest import Serve
from tests.kit.control import Control
from tests.kit.requests import plain, shake
from tests.kit.waiting import eventually

APP = """
import asyncio

from mpchat import HttpHandlerBase, WebsocketHandlerBase, default_component_list, response


class Large(HttpHandlerBase):
    name = "handler-large"

    async def handle_request(self, request, context):
        return response(200, "x" * 3_000_000)


class Late(HttpHandlerBase):
    name = "handler-late"

    async def handle_request(self, request, context):
        await asyncio.sleep(0.1)
        return response(200, f"{len(request.body)}")


class LastWord(HttpHandlerBase):
    name = "handler-last"

    async def handle_request(self, request, context):
        answer = response(200, "bye")
        answer.headers["Connection"] = "Close"
        return answer


ENDS = {
    "cancelled": asyncio.CancelledError,
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
    "generator": GeneratorExit,
    "group": lambda: BaseExceptionGroup("two", [SystemExit(1), ValueError()]),
    "base": BaseException,
}


class Ending(WebsocketHandlerBase):
    name = "handler-ending"

    async def handle_handshake(self, request, context):
        await asyncio.sleep(0)
        if request.headers.get("When") == "handshake":
            raise ENDS[context.path_params["how"]]()

    async def handle_non_websocket_request(self, request, context):
        raise ENDS[context.path_params["how"]]()

    async def handle(self, chat, context):
        raise ENDS[context.path_params["how"]]()


components = default_component_list()
for cls in (Large, Late, LastWord, Ending):
    components.append(cls)
"""
OPTIONS = {
    "server.handshake-timeout": "1s",
    "server.body-timeout": "2s",
    "server.write-timeout": "1500ms",
    "task_processors.main-task-processor.worker_threads": 1,
    "handler-large.path": "/large",
    "handler-late.path": "/late",
    "handler-late.method": "GET,POST",
    "handler-last.path": "/last",
    "handler-ending.path": "/ending/{how}",
}
LARGE = 3_000_000


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "app.py").write_text(APP)
    return [*service_command, "--app", "app:components"]


def connect(service: Service, **options: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.get("buffer", 65536))
    client.connect(("127.0.0.1", service.port))
    client.settimeout(30)
    return client


def read_all(client: socket.socket, pause: float = 0.0) -> bytes:
    """Read to the end of file, slowly if there is a pause."""
    received = b""
    while part := client.recv(65536):
        received += part
        time.sleep(pause)
    return received


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


async def test_slow_and_half_closed_clients_get_their_answers(serve: Serve) -> None:
    with serve(OPTIONS) as service:
        await asyncio.gather(
            # Longer than write-timeout and than the time for the last word, and never still.
            asyncio.to_thread(reads_slowly, service, plain("GET /large HTTP/1.0")),
            asyncio.to_thread(
                reads_slowly, service, plain("GET /large HTTP/1.1", "Connection: close")
            ),
            asyncio.to_thread(sends_a_body_slowly, service),
        )
        half_closed = {
            plain() * 3: 3,
            plain() * 40: 40,
            plain("GET /late HTTP/1.1") + plain(): 2,
            plain("GET /nowhere HTTP/1.1") + plain("GET /late HTTP/1.1") * 2: 3,
            plain("POST /late HTTP/1.1", "Content-Length: 3") + b"abc": 1,
            plain("GET /large HTTP/1.1") + plain(): 2,
            # It can send no message, and is told what became of its handshake all the same.
            shake(): 1,
            shake("GET /ending/cancelled HTTP/1.1", "When: handshake"): 1,
            # What is no whole request has an answer, too, behind the others.
            plain("GET /late HTTP/1.1") + b"GET /pi": 2,
        }
        for sent, answers in half_closed.items():
            with connect(service) as client:
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
                received = await asyncio.to_thread(read_all, client)
                assert received.count(b"HTTP/1.1 ") == answers, sent


def reads_slowly(service: Service, request: bytes) -> None:
    with connect(service) as client:
        client.sendall(request)
        begun = time.monotonic()
        answer = read_all(client, 0.08)
        assert time.monotonic() - begun > 2.0
        assert len(body(answer)) == LARGE


def sends_a_body_slowly(service: Service) -> None:
    with connect(service) as client:
        client.sendall(plain("POST /late HTTP/1.1", "Content-Length: 15"))
        for _ in range(15):
            time.sleep(0.2)
            client.sendall(b"x")
        assert body(client.recv(1000)) == b"15"


@pytest.mark.covers("ServerOptions.body-timeout", "ServerOptions.write-timeout")
async def test_those_that_do_nothing_are_cut_off(serve: Serve, control: Control) -> None:
    with serve(OPTIONS) as service, contextlib.ExitStack() as stack:
        silent = stack.enter_context(connect(service))
        no_reader = stack.enter_context(connect(service, buffer=4096))
        no_reader.sendall(plain("GET /large HTTP/1.1"))
        # Its answers wait in the kernel's buffers alone.
        small = stack.enter_context(connect(service, buffer=4096))
        small.sendall(plain("GET /nowhere HTTP/1.1") * 400)
        no_body = stack.enter_context(connect(service))
        no_body.sendall(plain("POST /late HTTP/1.1", "Content-Length: 9") + b"abc")
        assert read_all(silent) == b""
        assert read_all(no_body).startswith(b"HTTP/1.1 408 ")
        expected = {"handshake-timeout": 1, "body-timeout": 1, "write-timeout": 2}
        await eventually(
            lambda: control.limits() == expected,
            "the limits' counts",
        )
        await eventually(lambda: control.totals()["sockets"] <= 2, "the end of two at least")


async def test_a_socket_beyond_a_limit_leaves_within_its_second(
    serve: Serve, control: Control
) -> None:
    limited = {**OPTIONS, "server.listener.max_connections": 1}
    with serve(limited) as service, connect(service) as first:
        first.sendall(plain())
        assert first.recv(1000).startswith(b"HTTP/1.1 200 ")
        beyond = [connect(service) for _ in range(8)]
        requests = [
            plain("GET /nowhere HTTP/1.1"),
            plain("DELETE /ping HTTP/1.1"),
            plain("OPTIONS * HTTP/1.1"),
            plain("GET /ping HTTP/3.0"),
            shake(),
            plain("POST /late HTTP/1.1", "Content-Length: 9"),
            b"GET /pi",
            b"",
        ]
        for client, sent in zip(beyond, requests, strict=True):
            client.sendall(sent)
        await eventually(
            lambda: control.totals()["sockets"] == 1,
            "the end of all others",
        )
        first.sendall(plain())
        assert first.recv(1000).startswith(b"HTTP/1.1 200 ")
        for client in beyond:
            client.close()


async def test_an_author_may_end_a_connection(serve: Serve) -> None:
    with serve(OPTIONS) as service, connect(service) as client:
        client.sendall(plain("GET /last HTTP/1.1") + plain())
        answer = read_all(client)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"Connection: close\r\n" in answer


async def test_whatever_a_hook_ends_with_is_answered(serve: Serve, control: Control) -> None:
    with serve(OPTIONS) as service:
        for how in ("cancelled", "exit", "interrupt", "generator", "group", "base"):
            line = f"GET /ending/{how} HTTP/1.1"
            for sent in (plain(line), shake(line, "When: handshake")):
                with connect(service) as client:
                    client.sendall(sent)
                    assert client.recv(1000).startswith(b"HTTP/1.1 500 "), how
            with connect(service) as client:
                client.sendall(shake(line))
                received = client.recv(1000)
                while b"\x88\x02" not in received and (part := client.recv(1000)):
                    received += part
                assert received.endswith(b"\x88\x02\x03\xf3"), how
        await eventually(lambda: control.totals()["sockets"] == 0, "no socket")
        assert len(service.pids("worker")) == 1
