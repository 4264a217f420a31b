"""Static options, each changed and its effect seen by a client or an operator."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from tests.functional.conftest import Serve
from tests.kit.ports import free_port
from tests.kit.raw import HANDLERS, handshake, message_of, raw_connect
from tests.kit.waiting import eventually


@pytest.mark.covers(
    "ManagerOptions.task_processors",
    "TaskProcessorOptions.worker_threads",
    "ListenerOptions.task_processor",
    "HandlerBase.task_processor",
)
async def test_worker_threads_and_task_processor(serve: Serve) -> None:
    changes = {
        "task_processors.small": {"worker_threads": 1},
        "server.listener.task_processor": "small",
        "websocket-handler.task_processor": "small",
        "handler-ping.task_processor": "small",
    }
    with serve(changes) as service:
        assert service.ready_line.endswith("/chat, 1 worker")
        assert set(service.children().values()) >= {"mpchat: worker small/0"}


@pytest.mark.covers("ManagerOptions.default_task_processor")
async def test_default_task_processor(serve: Serve) -> None:
    changes = {
        "task_processors.small": {"worker_threads": 2},
        "default_task_processor": "small",
        "server.listener.task_processor": None,
        "websocket-handler.task_processor": None,
        "handler-ping.task_processor": None,
    }
    with serve(changes) as service:
        assert service.ready_line.endswith("/chat, 2 workers")


@pytest.mark.covers("PortOptions.address")
async def test_address(serve: Serve) -> None:
    with serve({"server.listener.address": "127.0.0.1"}) as service:
        with socket.create_connection(("127.0.0.1", service.port), 5):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", service.port), 5)
        assert f"ws://127.0.0.1:{service.port}/chat" in service.ready_line


@pytest.mark.covers("ServerOptions.listener", "PortOptions.port")
async def test_port(serve: Serve) -> None:
    port = free_port()
    with serve({"server.listener.port": port}) as service:
        assert service.port == port


@pytest.mark.covers("ListenerOptions.backlog")
async def test_backlog(serve: Serve) -> None:
    changes = {
        "server.listener.backlog": 3,
        "server.listener.address": "127.0.0.1",
        "task_processors.main-task-processor.worker_threads": 1,
    }
    with serve(changes) as service:
        service.freeze(service.pids("worker")[0])
        clients = []
        try:
            # Linux queues one more than it was told; whoever comes then waits in vain.
            with pytest.raises(TimeoutError):
                for _ in range(10):
                    clients.append(socket.create_connection(("127.0.0.1", service.port), 1))
        finally:
            service.thaw(service.pids("worker")[0])
            for client in clients:
                client.close()
        assert len(clients) == 4


@pytest.mark.covers("ListenerOptions.max_connections")
async def test_max_connections_of_the_listener(serve: Serve) -> None:
    with serve({"server.listener.max_connections": 3}) as service:
        held = [socket.create_connection(("localhost", service.port)) for _ in range(3)]
        for client in held:
            client.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert (await ServiceClient(service.port).get("/ping")).status == 503
        for client in held:
            client.close()
        deadline = time.monotonic() + 30
        while (await ServiceClient(service.port).get("/ping")).status != 200:
            assert time.monotonic() < deadline


@pytest.mark.shared_service
@pytest.mark.parametrize(
    ("changes", "sent", "expected"),
    [
        pytest.param(
            {"server.handshake-timeout": "200ms"},
            b"GET /ping HT",
            b"HTTP/1.1 408 ",
            marks=pytest.mark.covers("ServerOptions.handshake-timeout"),
        ),
        ({"server.handshake-timeout": "200ms"}, b"", b""),
        pytest.param(
            {"server.listener.connection.keepalive_timeout": 1},
            b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n",
            b"HTTP/1.1 200 ",
            marks=pytest.mark.covers(
                "ListenerOptions.connection", "ConnectionOptions.keepalive_timeout"
            ),
        ),
    ],
)
async def test_time_limits_of_plain_http(
    serve: Serve, changes: dict[str, Any], sent: bytes, expected: bytes
) -> None:
    with serve(changes) as service:
        reader, writer = await asyncio.open_connection("localhost", service.port)
        writer.write(sent)
        assert (await asyncio.wait_for(reader.read(), 30)).startswith(expected)
        writer.close()
        await writer.wait_closed()


@pytest.mark.covers(
    "ListenerOptions.handler-defaults",
    "HandlerDefaults.max_url_size",
    "HandlerDefaults.max_headers_size",
    "HandlerDefaults.max_request_size",
)
@pytest.mark.shared_service
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"x" * 200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200 + b"\r\n\r\n", 431),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n", 413),
    ],
)
async def test_size_limits_of_plain_http(serve: Serve, sent: bytes, status: int) -> None:
    sizes = {"max_url_size": 100, "max_headers_size": 100, "max_request_size": 100}
    with serve({"server.listener.handler-defaults": sizes}) as service:
        reader, writer = await asyncio.open_connection("localhost", service.port)
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 30)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        writer.close()
        await writer.wait_closed()


@pytest.mark.covers(
    "LoggingOptions.loggers",
    "LoggerOptions.file_path",
    "LoggerOptions.level",
    "LoggerOptions.format",
)
@pytest.mark.parametrize(
    ("log_format", "part"),
    [
        ("tskv", "\ttext=GET /ping"),
        ("ltsv", "\ttext:GET /ping"),
        ("json", '"text": "GET /ping'),
        ("text", r" [0-9a-f]+-[12] GET /ping 200 from "),
    ],
)
async def test_loggers_file_format_and_level(
    serve: Serve, service_tmpdir: Path, log_format: str, part: str
) -> None:
    default = {"file_path": "own.log", "format": log_format, "level": "info"}
    quiet = {"file_path": "@null", "level": "warning"}
    other = {"file_path": "ping.log", "format": "raw"}
    loggers = {"default": default, "mpchat.handlers.websocket-handler": quiet, "extra": other}
    with serve({"logging.loggers": loggers}) as service:
        client = ServiceClient(service.port)
        await client.get("/chat")
        await client.get("/ping")
        path = service_tmpdir / "own.log"
        # Each worker counts its connections, so this one's number is 2 if both went to the same worker.
        await eventually(lambda: re.search(part, path.read_text()), "line")
        assert "/chat 426" not in path.read_text()
        assert service.stderr() == ""


async def test_raw_format_and_level_none(serve: Serve, service_tmpdir: Path) -> None:
    default = {"file_path": "own.log", "format": "raw", "level": "none"}
    with serve({"logging.loggers.default": default}) as service:
        assert (await ServiceClient(service.port).get("/ping")).status == 200
    assert (service_tmpdir / "own.log").read_text() == ""


@pytest.mark.covers("DynamicConfigOptions.defaults", "DynamicConfigOptions.defaults-path")
async def test_dynamic_config_layers(serve: Serve, service_tmpdir: Path) -> None:
    (service_tmpdir / "defaults.json").write_text('{"USERVER_LOG_REQUEST": false}')
    changes: dict[str, Any] = {
        "dynamic-config-fallbacks.fallback-path": None,
        "dynamic-config.defaults": {"MPCHAT_LIMITS": {"max_connections": 0}},
        "dynamic-config.defaults-path": "defaults.json",
    }
    with serve(changes) as service:
        with pytest.raises(InvalidStatus):
            await WebsocketClient(service.port).get("chat").__aenter__()
        # The file is read again, the values in the static config stay.
        (service_tmpdir / "defaults.json").write_text('{"MPCHAT_LIMITS": {}}')
        await asyncio.to_thread(service.reload)
        async with WebsocketClient(service.port).get("chat"):
            pass
        assert "GET /chat 503" not in service.stderr()


@pytest.mark.parametrize(
    "section",
    [
        pytest.param(
            "dynamic-config", marks=pytest.mark.covers("DynamicConfigOptions.load-enabled")
        ),
        pytest.param(
            "dynamic-config-fallbacks",
            marks=pytest.mark.covers("DynamicConfigFallbacksOptions.load-enabled"),
        ),
    ],
)
async def test_dynamic_config_sections_can_be_left_out(
    serve: Serve, service_tmpdir: Path, section: str
) -> None:
    (service_tmpdir / "bad.json").write_text("{")
    option = "defaults-path" if section == "dynamic-config" else "fallback-path"
    with serve({f"{section}.{option}": "bad.json", f"{section}.load-enabled": False}) as service:
        assert service.ready_line


@pytest.mark.covers("Component.load-enabled", "HandlerBase.path", "HandlerBase.method")
async def test_load_enabled_path_and_method(serve: Serve) -> None:
    changes = {
        "handler-ping.load-enabled": False,
        "websocket-handler.path": "/talk",
        "websocket-handler.method": "GET,POST",
    }
    with serve(changes) as service:
        client = ServiceClient(service.port)
        assert (await client.get("/ping")).status == 404
        assert (await client.get("/chat")).status == 404
        assert (await client.post("/talk")).status == 426
        async with WebsocketClient(service.port).get("talk") as chat:
            await chat.send("hello")
            assert await chat.recv() == "hello"


@pytest.mark.covers("HandlerBase.url_trailing_slash")
async def test_url_trailing_slash(serve: Serve) -> None:
    with serve({"handler-ping.url_trailing_slash": "strict-match"}) as service:
        client = ServiceClient(service.port)
        assert (await client.get("/ping/")).status == 404
        assert (await client.get("/chat/")).status == 426


@pytest.mark.covers("HandlerBase.max_requests_in_flight")
async def test_max_requests_in_flight(serve: Serve) -> None:
    with serve({"websocket-handler.max_requests_in_flight": 2}) as service:
        client = WebsocketClient(service.port)
        async with client.get("chat"), client.get("chat"):
            with pytest.raises(InvalidStatus) as caught:
                await client.get("chat").__aenter__()
            assert message_of(caught.value) == "too many connections to this handler"


@pytest.mark.covers("HandlerBase.max_requests_per_second")
async def test_max_requests_per_second(serve: Serve) -> None:
    with serve({"websocket-handler.max_requests_per_second": 3}) as service:
        client = WebsocketClient(service.port)

        async def is_served() -> bool:
            try:
                async with client.get("chat"):
                    return True
            except InvalidStatus as error:
                assert message_of(error) == "too many handshakes per second"
                return False

        served: list[bool] = []
        deadline = time.monotonic() + 30
        # One second cannot let in more than three, and the next one lets in some again. At once, since a
        # busy machine takes long for each.
        while all(served) or sum(served) <= 3:
            assert time.monotonic() < deadline
            served += await asyncio.gather(*(is_served() for _ in range(8)))


@pytest.mark.covers("HandlerBase.log-level")
async def test_log_level_of_a_handler(serve: Serve) -> None:
    with serve({"handler-ping.log-level": "warning"}) as service:
        client = ServiceClient(service.port)
        await client.get("/ping")
        await client.get("/chat")
        await eventually(lambda: "GET /chat 426" in service.stderr(), "line")
        assert "GET /ping" not in service.stderr()


async def test_a_tiny_fragment_size_stays_within_what_clients_take(serve: Serve) -> None:
    with serve({"websocket-handler.fragment-size": 10}) as service:
        async with WebsocketClient(service.port).get("chat") as chat:
            # The client of websockets takes 4,096 fragments.
            message = "hello" * 10_000
            await chat.send(message)
            assert await chat.recv() == message


@pytest.mark.covers("WebsocketOptions.subprotocols")
async def test_subprotocols(serve: Serve) -> None:
    with serve({"websocket-handler.subprotocols": ["v2.chat", "v1.chat"]}) as service:
        client = WebsocketClient(service.port)
        async with client.get("chat", subprotocols=["v1.chat", "v2.chat"]) as chat:
            assert chat.subprotocol == "v2.chat"


@pytest.mark.covers("WebsocketOptions.ping-interval", "WebsocketOptions.ping-timeout")
async def test_ping_interval_and_timeout(serve: Serve) -> None:
    changes = {
        "websocket-handler.ping-interval": "300ms",
        "websocket-handler.ping-timeout": "300ms",
    }
    with serve(changes) as service:
        reader, writer = await raw_connect(service.port, "/chat")
        received = await asyncio.wait_for(reader.read(), 30)
        assert received.startswith(b"\x89\x00\x88")
        writer.close()
        await writer.wait_closed()


@pytest.mark.covers("WebsocketOptions.close-timeout")
async def test_close_timeout(serve: Serve, service_tmpdir: Path) -> None:
    shutil.copy(HANDLERS, service_tmpdir)
    changes: dict[str, Any] = {
        "websocket-handler": None,
        "handler-ping": None,
        "handler-returner": {"path": "/returner", "close-timeout": "300ms"},
    }
    with serve(changes, "--app", "handlers:components") as service:
        reader, writer = await raw_connect(service.port, "/returner")
        begun = time.monotonic()
        with suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 30)
        # The default would have taken five seconds.
        assert time.monotonic() - begun < 4.5
        writer.close()


@pytest.mark.covers("WebsocketOptions.handshake-timeout")
async def test_handshake_timeout_of_a_handler(serve: Serve, service_tmpdir: Path) -> None:
    shutil.copy(HANDLERS, service_tmpdir)
    changes: dict[str, Any] = {
        "websocket-handler": None,
        "handler-ping": None,
        "handler-undecided": {"path": "/undecided", "handshake-timeout": "100ms"},
    }
    with serve(changes, "--app", "handlers:components") as service:
        with pytest.raises(InvalidStatus) as caught:
            await WebsocketClient(service.port).get("undecided").__aenter__()
        assert caught.value.response.status_code == 504
        text = "longer than handshake-timeout"
        await eventually(lambda: text in service.stderr(), "log line")


@pytest.mark.covers("WebsocketOptions.max_headers_size")
async def test_max_headers_size_of_a_handler(serve: Serve) -> None:
    # By default it is 16 KiB.
    with serve({"websocket-handler.max_headers_size": 20_000}) as service:
        async with WebsocketClient(service.port).get(
            "chat", additional_headers={"X-Long": "x" * 19_000}
        ) as chat:
            await chat.send("hello")
            assert await chat.recv() == "hello"
        with pytest.raises(InvalidStatus) as caught:
            await (
                WebsocketClient(service.port)
                .get("chat", additional_headers={"X-Long": "x" * 20_000})
                .__aenter__()
            )
        assert caught.value.response.status_code == 431


@pytest.mark.covers("WebsocketOptions.write-timeout", "WebsocketOptions.write-limit")
async def test_write_limit_and_timeout(serve: Serve) -> None:
    changes = {
        "websocket-handler.write-limit": 1000,
        "websocket-handler.write-timeout": "300ms",
        "websocket-handler.close-timeout": "60s",
    }
    with serve(changes) as service:
        frame = b"\x82\xfe\xff\xff" + bytes(4) + b"x" * 65_535
        with socket.create_connection(("localhost", service.port)) as client:
            client.sendall(handshake("/chat"))
            client.settimeout(30)
            client.recv(65_536)
            # It sends and never reads: when send has waited long enough the connection is cut off.
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                while True:
                    client.sendall(frame)


async def test_to_thread_runs_on_fs_task_processor(serve: Serve, service_tmpdir: Path) -> None:
    shutil.copy(HANDLERS, service_tmpdir)
    changes: dict[str, Any] = {
        "task_processors.fs-task-processor.worker_threads": 2,
        "websocket-handler": None,
        "handler-ping": None,
        "handler-threads": {"path": "/threads"},
    }
    with serve(changes, "--app", "handlers:components") as service:
        async with WebsocketClient(service.port).get("threads") as chat:
            found = json.loads(await chat.recv())
        assert found == {"names": ["fs-task-processor_0", "fs-task-processor_1"], "most": 2}


@pytest.mark.covers("LoggerOptions.overflow_behavior")
async def test_a_log_that_blocks_loses_no_line(serve: Serve, service_tmpdir: Path) -> None:
    pipe = service_tmpdir / "log.pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    default = {
        "file_path": str(pipe),
        "format": "raw",
        "overflow_behavior": "block",
        "message_queue_size": 1,
    }
    changes = {
        "logging.loggers.default": default,
        "task_processors.main-task-processor.worker_threads": 1,
    }
    lines = b""

    def written() -> int:
        with suppress(BlockingIOError):
            nonlocal lines
            lines += os.read(reader, 65_536)
        return len(re.findall(rb"^GET /ping 200 from \S+\n", lines, re.MULTILINE))

    with serve(changes) as service:
        clients = [
            asyncio.create_task(ServiceClient(service.port).get("/ping")) for _ in range(2000)
        ]
        # The pipe fills, and requests wait for a reader; none of them and no line is lost.
        await eventually(lambda: written() == 2000, "line for each request")
        await asyncio.gather(*clients)
    os.close(reader)
