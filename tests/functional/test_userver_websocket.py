"""What userver's own functional tests expect of a service with four WebSocket handlers holds here, too.

The handlers are written as their C++ counterparts are: an echo that closes when asked to, one that polls,
one with a task for each direction, and one that pings and never receives.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.service import Service, wait_until
from tests.kit.raw import handshake

MAIN = """
import asyncio

from mpchat import WebsocketHandlerBase, daemon_main, minimal_server_component_list, response


class Echo(WebsocketHandlerBase):
    name = "websocket-handler"

    async def handle_handshake(self, request, context):
        context.data["origin"] = request.headers.get("Origin")

    async def handle(self, chat, context):
        if context.data["origin"]:
            await chat.send(context.data["origin"])
        async for message in chat:
            if message == "close":
                await chat.close(1001)
                break
            await chat.send(message)

    async def handle_non_websocket_request(self, request, context):
        return response(400, "Not a websocket request")


class Polling(WebsocketHandlerBase):
    name = "websocket-handler-alt"

    async def handle(self, chat, context):
        while True:
            message = chat.try_recv()
            if message is not None:
                await chat.send(message)
            await asyncio.sleep(0)


class Duplex(WebsocketHandlerBase):
    name = "websocket-duplex-handler"

    async def handle(self, chat, context):
        queue = asyncio.Queue()

        async def read():
            async for message in chat:
                await queue.put(message)
            await queue.put(None)

        async def write():
            while (message := await queue.get()) is not None:
                await chat.send(message.encode())

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            tasks.create_task(write())


class Pinging(WebsocketHandlerBase):
    name = "websocket-ping-pong-handler"

    async def handle(self, chat, context):
        while chat.unanswered_pings <= 3:
            await chat.ping()
            await asyncio.sleep(0.02)
        await chat.close(1001)


if __name__ == "__main__":
    components = minimal_server_component_list()
    daemon_main(components.append(Echo).append(Polling).append(Duplex).append(Pinging))
"""

CONFIG = """
components_manager:
    task_processors:
        main-task-processor:
            worker_threads: 2
        fs-task-processor:
            worker_threads: 1
    default_task_processor: main-task-processor
    components:
        server:
            listener:
                port: 0
                task_processor: main-task-processor
        websocket-handler: &handler
            path: /chat
            method: GET
            task_processor: main-task-processor
            max-remote-payload: 100000
            fragment-size: 10
        websocket-handler-alt:
            <<: *handler
            path: /handler-alt
        websocket-duplex-handler:
            <<: *handler
            path: /duplex
        websocket-ping-pong-handler:
            <<: *handler
            path: /ping-pong
        testsuite-support:
        http-client:
        http-client-core:
            fs-task-processor: main-task-processor
        dns-client:
            fs-task-processor: fs-task-processor
        tests-control:
            method: POST
            path: /tests/{action}
            skip-unregistered-testpoints: true
            task_processor: main-task-processor
            testpoint-timeout: 10s
            testpoint-url: http://localhost:1/testpoint
            throttling_enabled: false
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("userver")
    (folder / "main.py").write_text(MAIN)
    (folder / "config.yaml").write_text(CONFIG)
    service = Service([sys.executable, "main.py", "-c", "config.yaml"], folder)
    try:
        service.wait_ready()
        yield service
    finally:
        service.close()


@pytest.fixture
def websocket_client(service: Service) -> WebsocketClient:
    return WebsocketClient(service.port)


@pytest.mark.parametrize("path", ["chat", "handler-alt"])
@pytest.mark.parametrize("message", ["hello", "a" * 200, "hello" * 10_000, b"bytes"])
async def test_echo(websocket_client: WebsocketClient, path: str, message: str | bytes) -> None:
    async with websocket_client.get(path) as chat:
        await chat.send(message)
        assert await chat.recv() == message


async def test_many_messages_one_by_one(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("chat") as chat:
        for number in range(1000):
            await chat.send(str(number))
            assert await chat.recv() == str(number)


async def test_the_service_closes(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("chat") as chat:
        await chat.send("close")
        with pytest.raises(ConnectionClosed):
            await chat.recv()
        assert chat.close_code == 1001


async def test_a_ping_of_the_client(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("chat") as chat:
        await (await chat.ping("ping"))
        await chat.send("hello")
        assert await chat.recv() == "hello"


async def test_a_message_beyond_the_limit(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("chat") as chat:
        with pytest.raises(ConnectionClosed):
            await chat.send("hello" * 100_000)
            await chat.recv()
        assert chat.close_code == 1009


async def test_the_handshake_hands_its_origin_on(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("chat", origin="localhost") as chat:
        assert await chat.recv() == "localhost"


@pytest.mark.parametrize(
    ("path", "sent", "answer"), [("duplex", "A", b"A"), ("handler-alt", "B", "B")]
)
async def test_two_clients_each_get_their_own(
    websocket_client: WebsocketClient, path: str, sent: str, answer: str | bytes
) -> None:
    async with websocket_client.get(path) as one, websocket_client.get(path) as other:
        for client in (one, other):
            for number in range(10):
                await client.send(f"{sent}{number}")
        for client in (other, one):
            for number in range(10):
                digit: Any = str(number) if isinstance(answer, str) else str(number).encode()
                assert await client.recv() == answer + digit


async def test_pings_that_nobody_receives_the_answers_of(
    websocket_client: WebsocketClient,
) -> None:
    async with websocket_client.get("ping-pong") as chat:
        with pytest.raises(ConnectionClosed):
            await chat.recv()
        assert chat.close_code == 1001


async def test_a_plain_request_to_a_websocket(service: Service) -> None:
    answer = await ServiceClient(service.port).get("/chat")
    assert (answer.status, answer.text) == (400, "Not a websocket request")


async def test_a_close_without_a_code(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("chat") as chat:
        async with chat.send_context():
            chat.protocol.send_close()
        await chat.wait_closed()
        assert chat.close_code == 1005


async def test_a_tab_before_a_header_value(service: Service) -> None:
    reader, writer = await asyncio.open_connection("localhost", service.port)
    writer.write(handshake("/chat").replace(b"Upgrade: websocket", b"Upgrade:\twebsocket"))
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 101 ")
    writer.close()


# What the plugin sends before the first request of each test, as of 2024-10 and 2026-06: what it knows of
# the service's state is unknown, so that everything is in it.
FIRST: dict[str, dict[str, Any]] = {
    "2024-10": {
        "invalidate_caches": {
            "update_type": "full",
            "exclude_names": [],
            "force_incremental_names": [],
        },
        "testpoints": [],
        "mock_now": "2024-10-25T00:07:58.000123+0000",
    },
    "2026-06": {
        "invalidate_caches": {
            "update_type": "full",
            "names": ["dynamic-config-client-updater"],
            "exclude_names": [],
            "force_incremental_names": [],
        },
        "testpoints": [],
        "mock_now": "2026-06-30T10:40:13.000000+0000",
    },
}


@pytest.mark.parametrize("version", FIRST)
async def test_the_first_request_of_the_plugin(service: Service, version: str) -> None:
    client = ServiceClient(service.port)
    for body in (FIRST[version], {"mock_now": None}, {"action": "control", **FIRST[version]}):
        answer = await client.post("/tests/control", body)
        assert (answer.status, answer.json()) == (200, {})
    said = wait_until(
        lambda: [line for line in service.stderr().splitlines() if "mock_now" in line],
        "line about the time",
    )
    assert "has no effect" in said[0]
    workers = {field for line in said for field in line.split("\t") if field.startswith("worker=")}
    assert len(said) == len(workers)


async def test_a_time_that_is_none(service: Service) -> None:
    client = ServiceClient(service.port)
    for value in ("now", 7, ["2026-06-30T10:40:13+0000"]):
        answer = await client.post("/tests/control", {"mock_now": value})
        assert answer.status == 400
        message = answer.json()["message"]
        assert message.startswith("mock_now: expected a time such as 2026-06-30T12:00")
