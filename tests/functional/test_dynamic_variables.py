"""Every dynamic variable that has an effect, seen on an open service."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.service import Service
from tests.kit.control import Control
from tests.kit.raw import raw_connect
from tests.kit.waiting import eventually

pytestmark = pytest.mark.shared_service


async def set_values(dynamic_config: DynamicConfig, **values: Any) -> None:
    await asyncio.to_thread(dynamic_config.set, **values)


async def seen(supervisor: Service, text: str) -> None:
    await eventually(lambda: text in supervisor.stderr(), f"line with {text}")


async def count_pings(supervisor: Service, count: int) -> None:
    """Wait for that many lines, and for no more."""

    def counted() -> int:
        return supervisor.stderr().count("GET /ping")

    await eventually(lambda: counted() >= count, f"{count} lines")
    assert counted() == count


async def refused(websocket_client: WebsocketClient) -> str:
    with pytest.raises(InvalidStatus) as caught:
        await websocket_client.get("chat").__aenter__()
    assert caught.value.response.status_code == 503
    return (caught.value.response.body or b"").decode()


async def refused_in_the_end(websocket_client: WebsocketClient) -> InvalidStatus:
    """Connect until one worker refuses; those that have not heard yet of the stop do not."""
    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline
        try:
            async with websocket_client.get("chat"):
                continue
        except InvalidStatus as error:
            assert error.response.status_code == 503
            return error


@pytest.mark.covers("USERVER_LOG_REQUEST_HEADERS", "USERVER_LOG_REQUEST_HEADERS_WHITELIST")
async def test_headers_are_logged_masked_unless_listed(
    supervisor: Service, service_client: ServiceClient, dynamic_config: DynamicConfig
) -> None:
    headers = {"Authorization": "secret", "X-Shown": "visible"}
    await service_client.get("/ping", headers=headers)
    await set_values(
        dynamic_config,
        USERVER_LOG_REQUEST_HEADERS=True,
        USERVER_LOG_REQUEST_HEADERS_WHITELIST=["x-shown"],
    )
    await service_client.get("/ping", headers=headers)
    await seen(supervisor, "Authorization: ***, X-Shown: visible")
    assert "secret" not in supervisor.stderr()
    assert supervisor.stderr().count("X-Shown") == 1


@pytest.mark.covers("USERVER_NO_LOG_SPANS")
@pytest.mark.parametrize(
    "left_out",
    [
        pytest.param(
            {"names": ["http/handler-ping"]}, marks=pytest.mark.covers("NoLogSpans.names")
        ),
        pytest.param({"prefixes": ["http/h"]}, marks=pytest.mark.covers("NoLogSpans.prefixes")),
    ],
)
async def test_lines_are_left_out_by_span(
    supervisor: Service,
    service_client: ServiceClient,
    dynamic_config: DynamicConfig,
    left_out: dict[str, list[str]],
) -> None:
    await set_values(dynamic_config, USERVER_NO_LOG_SPANS=left_out)
    await service_client.get("/ping")
    await service_client.get("/chat")
    await seen(supervisor, "GET /chat 426")
    assert "GET /ping" not in supervisor.stderr()


@pytest.mark.covers(
    "DynamicDebug.force-enabled",
    "DynamicDebug.force-disabled",
    "DynamicDebug.force-enabled-level",
    "DynamicDebug.force-disabled-level",
    "USERVER_LOG_DYNAMIC_DEBUG",
)
async def test_levels_of_named_loggers_change_and_come_back(
    supervisor: Service, service_client: ServiceClient, dynamic_config: DynamicConfig
) -> None:
    await set_values(
        dynamic_config,
        USERVER_LOG_DYNAMIC_DEBUG={"force-disabled": ["mpchat.handlers.handler-ping"]},
    )
    await service_client.get("/ping")
    await set_values(
        dynamic_config,
        USERVER_LOG_DYNAMIC_DEBUG={"force-enabled-level": {"mpchat.handlers.handler-ping": "INFO"}},
    )
    await service_client.get("/ping")
    await count_pings(supervisor, 1)
    await set_values(
        dynamic_config,
        USERVER_LOG_DYNAMIC_DEBUG={"force-disabled-level": {"mpchat.handlers": "ERROR"}},
    )
    await service_client.get("/ping")
    await set_values(
        dynamic_config,
        USERVER_LOG_DYNAMIC_DEBUG={
            "force-disabled": ["mpchat.handlers"],
            "force-enabled": ["mpchat.handlers.handler-ping"],
        },
    )
    await service_client.get("/ping")
    await count_pings(supervisor, 2)
    await set_values(dynamic_config, USERVER_LOG_DYNAMIC_DEBUG={})
    await service_client.get("/ping")
    await count_pings(supervisor, 3)


@pytest.mark.covers("Limits.max_connections_per_address")
async def test_connections_per_address(
    websocket_client: WebsocketClient, dynamic_config: DynamicConfig
) -> None:
    await set_values(dynamic_config, MPCHAT_LIMITS={"max_connections_per_address": 5})
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(websocket_client.get("chat"))
        assert "from this address" in await refused(websocket_client)
    # The places are free again once the connections have ended in their workers.
    deadline = time.monotonic() + 30
    while True:
        try:
            async with websocket_client.get("chat"):
                return
        except InvalidStatus:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


@pytest.mark.covers("Limits.max_messages_per_second")
async def test_messages_per_second(
    websocket_client: WebsocketClient, dynamic_config: DynamicConfig
) -> None:
    await set_values(dynamic_config, MPCHAT_LIMITS={"max_messages_per_second": 0})
    assert "messages per second" in await refused(websocket_client)
    await set_values(dynamic_config, MPCHAT_LIMITS={"max_messages_per_second": 1_000_000})
    async with websocket_client.get("chat") as chat:
        await chat.send("in")
        assert await chat.recv() == "in"


@pytest.mark.covers("Keepalive.interval_ms", "Keepalive.timeout_ms", "MPCHAT_KEEPALIVE")
async def test_keepalive_pings_and_ends_a_dead_peer(
    service_port: int, supervisor: Service, dynamic_config: DynamicConfig
) -> None:
    reader, writer = await raw_connect(service_port, "/chat")
    await set_values(dynamic_config, MPCHAT_KEEPALIVE={"interval_ms": 300, "timeout_ms": 1500})
    assert await asyncio.wait_for(reader.readexactly(2), 30) == b"\x89\x00"
    writer.write(b"\x8a\x80\x00\x00\x00\x00")  # it answers the first one and then never again
    assert await asyncio.wait_for(reader.readexactly(2), 30) == b"\x89\x00"
    ending = await asyncio.wait_for(reader.read(), 30)
    assert ending.startswith(b"\x88")
    assert ending[2:4] == (1011).to_bytes(2, "big")
    await seen(supervisor, "closing with 1011: keepalive ping timeout")
    writer.close()
    await writer.wait_closed()


async def test_reloads_of_other_variables_put_no_ping_off(
    service_port: int, dynamic_config: DynamicConfig
) -> None:
    reader, writer = await raw_connect(service_port, "/chat")
    await set_values(dynamic_config, MPCHAT_KEEPALIVE={"interval_ms": 2000})
    ping = asyncio.ensure_future(reader.readexactly(2))
    most = 1000
    deadline = time.monotonic() + 30
    while not ping.done():
        assert time.monotonic() < deadline
        most += 1
        await set_values(dynamic_config, MPCHAT_LIMITS={"max_connections": most})
    assert await ping == b"\x89\x00"
    writer.close()
    await writer.wait_closed()


async def test_keepalive_blames_no_client_for_a_frozen_worker(
    service_port: int, supervisor: Service, control: Control, dynamic_config: DynamicConfig
) -> None:
    reader, writer = await raw_connect(service_port, "/chat")
    await set_values(dynamic_config, MPCHAT_KEEPALIVE={"interval_ms": 200, "timeout_ms": 1000})
    assert await asyncio.wait_for(reader.readexactly(2), 30) == b"\x89\x00"
    workers = supervisor.pids("worker")
    for pid in workers:
        supervisor.freeze(pid)
    # The answer comes in time, and lies unread for longer than interval and timeout together.
    writer.write(b"\x8a\x80\x00\x00\x00\x00")
    await eventually(
        lambda: all(worker["silent_seconds"] > 1.5 for worker in control.workers()),
        "silence of all workers",
    )
    for pid in workers:
        supervisor.thaw(pid)
    assert await asyncio.wait_for(reader.readexactly(2), 30) == b"\x89\x00"
    writer.close()
    await writer.wait_closed()


@pytest.mark.covers("Drain.lameduck_ms", "MPCHAT_DRAIN")
async def test_lameduck_refuses_while_still_accepting(
    supervisor: Service,
    websocket_client: WebsocketClient,
    service_client: ServiceClient,
    dynamic_config: DynamicConfig,
) -> None:
    await set_values(dynamic_config, MPCHAT_DRAIN={"lameduck_ms": 5000})
    async with websocket_client.get("chat") as chat:
        supervisor.send_signal(signal.SIGTERM)
        await seen(supervisor, "stopping: draining")
        deadline = time.monotonic() + 30
        while (await service_client.get("/ping")).status != 503:
            assert time.monotonic() < deadline
        refusal = await refused_in_the_end(websocket_client)
        assert b"stopping" in (refusal.response.body or b"")
        await chat.send("still served")
        assert await chat.recv() == "still served"
        await chat.wait_closed()
        assert chat.close_code == 1001
    assert await asyncio.to_thread(supervisor.stop) == 0


@pytest.mark.covers(
    "GracefulShutdownHeaders.headers",
    "GRACEFUL_SHUTDOWN_HEADERS",
)
@pytest.mark.parametrize(
    "enabled",
    [True, pytest.param(False, marks=pytest.mark.covers("GracefulShutdownHeaders.enabled"))],
)
async def test_answers_have_headers_while_the_service_stops(
    supervisor: Service,
    websocket_client: WebsocketClient,
    service_client: ServiceClient,
    dynamic_config: DynamicConfig,
    enabled: bool,
) -> None:
    headers = {"X-Leaving": ["yes", "soon"], "Content-Type": ["text/x-farewell"]}
    await set_values(
        dynamic_config,
        # Ended by the second signal, below.
        MPCHAT_DRAIN={"lameduck_ms": 30_000},
        GRACEFUL_SHUTDOWN_HEADERS={"enabled": enabled, "headers": headers},
    )
    assert "x-leaving" not in (await service_client.get("/ping")).headers
    supervisor.send_signal(signal.SIGTERM)
    await seen(supervisor, "stopping: draining")
    deadline = time.monotonic() + 30
    while (answer := await service_client.get("/ping")).status != 503:
        assert time.monotonic() < deadline
    refusal = await refused_in_the_end(websocket_client)
    for found in (answer.headers, refusal.response.headers):
        assert found.get("x-leaving") == ("yes, soon" if enabled else None)
        assert (found["content-type"] == "text/x-farewell") is enabled
    assert await asyncio.to_thread(supervisor.stop) == 0


async def test_headers_that_must_not_be_added_are_refused(
    supervisor: Service, dynamic_config: DynamicConfig
) -> None:
    for name, value in (("Content-Length", "0"), ("X: Y", ""), ("X", "a\r\nSet-Cookie: b")):
        with pytest.raises(ValueError, match="GRACEFUL_SHUTDOWN_HEADERS"):
            headers = {"enabled": True, "headers": {name: [value]}}
            await set_values(dynamic_config, GRACEFUL_SHUTDOWN_HEADERS=headers)


@pytest.mark.covers("Drain.deadline_ms")
async def test_drain_deadline_cuts_off_who_does_not_confirm(
    supervisor: Service, service_port: int, dynamic_config: DynamicConfig
) -> None:
    await set_values(dynamic_config, MPCHAT_DRAIN={"deadline_ms": 300})
    reader, writer = await raw_connect(service_port, "/chat")
    supervisor.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(reader.readexactly(4), 30) == b"\x88\x02\x03\xe9"
    # stop() would send another signal, which hurries.
    assert await asyncio.to_thread(supervisor.process.wait, 30) == 0
    # Not by close-timeout, which would have ended it otherwise.
    assert "1 connections had not ended by the deadline" in supervisor.stderr()
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()


@pytest.mark.covers("Drain.window_ms")
async def test_drain_window_spreads_the_closes(
    supervisor: Service, websocket_client: WebsocketClient, dynamic_config: DynamicConfig
) -> None:
    await set_values(dynamic_config, MPCHAT_DRAIN={"window_ms": 0})
    clients = [await websocket_client.get("chat") for _ in range(200)]
    begun = time.monotonic()
    supervisor.send_signal(signal.SIGTERM)
    await asyncio.gather(*(client.wait_closed() for client in clients))
    at_once = time.monotonic() - begun
    assert {client.close_code for client in clients} == {1001}
    # 50 in each worker, 10 ms apart, would have taken half a second.
    assert at_once < 30
    assert await asyncio.to_thread(supervisor.stop) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("USERVER_RPS_CCONTROL", {"min-limit": 0}),
        ("USERVER_RPS_CCONTROL_ENABLED", 1),
        ("USERVER_RPS_CCONTROL_ACTIVATED_FACTOR_METRIC", "5"),
        ("USERVER_RPS_CCONTROL_CUSTOM_STATUS", []),
        ("USERVER_TASK_PROCESSOR_QOS", {"default-service": {}}),
        ("USERVER_TASK_PROCESSOR_PROFILER_DEBUG", {"main": {"enabled": True}}),
        ("USERVER_LOG_DYNAMIC_DEBUG", {"force-enabled-level": {"x": "LOUD"}}),
        ("USERVER_LOG_REQUEST_HEADERS_WHITELIST", "x"),
        ("MPCHAT_DRAIN", {"window_ms": -1}),
        ("MPCHAT_KEEPALIVE", {"interval_ms": 0.5}),
    ],
)
def test_wrong_values_are_refused(dynamic_config: DynamicConfig, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        dynamic_config.set(**{name: value})


def test_a_socket_of_the_first_generation_is_untouched(
    service_port: int, dynamic_config: DynamicConfig
) -> None:
    with socket.create_connection(("localhost", service_port)) as client:
        for _ in range(5):
            dynamic_config.set(USERVER_LOG_REQUEST=True)
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
