"""Handlers in memory: the protocol is the server's own, with its limits, refusals and close codes."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from pathlib import Path
from typing import Annotated, Any, cast

import pytest
import uvloop
from pydantic import Field
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidStatus

from mpchat import (
    Component,
    ComponentError,
    ComponentList,
    Components,
    Connections,
    Context,
    HttpHandlerBase,
    HttpRequest,
    Identity,
    Key,
    Ping,
    Request,
    Response,
    WebSocketConnection,
    WebsocketHandlerBase,
    default_component_list,
    response,
)
from mpchat.errors import ConfigError
from mpchat.testing import Clock, Worker, connect, request, serve, serve_config
from mpchat.testing.clients import MemoryConnection

GREETING = Key("GREETING", str, default="hello")
ROOT = Path(__file__).parent.parent.parent.parent


class Words(Component):
    """A component that the handler needs."""

    name = "words"
    dynamic_config_keys = (GREETING,)

    class Options(Component.Options):
        """Its section."""

        mark: str = "."

    async def start(self) -> None:
        self.is_started = True

    async def stop(self) -> None:
        self.is_started = False

    def on_config_update(self) -> None:
        self.seen_by_hook = self.config[GREETING]

    def greeting(self) -> str:
        return self.config[GREETING] + self.options.mark


class Greeter(WebsocketHandlerBase):
    """Greets, then echoes."""

    name = "greeter"

    class Options(WebsocketHandlerBase.Options):
        """Its section."""

        limit: Annotated[int, Field(ge=1)] = 10

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self.words = components.find(Words)

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        await chat.send(self.words.greeting())
        async for message in chat:
            await chat.send(message)


class Echo(WebsocketHandlerBase):
    """Echoes whom it lets in."""

    name = "echo"

    async def handle_handshake(self, request: Request, context: Context) -> Response | None:
        if request.headers.get("Authorization") == "Bearer wrong":
            return response(401, "who are you?\n")
        if request.headers.get("Authorization") == "Bearer slow":
            await asyncio.Event().wait()
        context.data["room"] = context.path_params.get("room")
        return None

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        async for message in chat:
            if message == "fail":
                raise LookupError("a mistake")
            if message == "sleep":
                await asyncio.Event().wait()
            if message == "stopping":
                await chat.send("waiting")
                await context.stopping.wait()
            await chat.send(message if message != "room" else context.data["room"])


class Orders(HttpHandlerBase):
    """Answers plain requests."""

    name = "orders"

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        if request.headers.get("X-Wait"):
            await asyncio.Event().wait()
        query = dict(request.query) or ""
        text = f"{request.path}{query} {context.path_params.get('id')} {request.body.decode()}"
        return response(201, text)


async def test_a_connection() -> None:
    async with connect(Echo) as chat:
        for message in ("text", b"bytes", "", "x" * 50_000):
            await chat.send(message)
            assert await chat.recv() == message
    assert chat.close_code == 1000


async def test_on_the_loop_of_workers() -> None:
    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(test_a_connection())

    await asyncio.to_thread(run)


async def test_components_options_and_dynamic_config() -> None:
    given = {"components": {Words: {"mark": "!"}}, "dynamic_config": {"GREETING": "welcome"}}
    async with connect(Greeter, "/rooms", **given) as chat:  # type: ignore[arg-type]
        assert await chat.recv() == "welcome!"


async def test_a_part_of_the_path_and_headers() -> None:
    options = {"path": "/rooms/{room}"}
    headers = {"Authorization": "Bearer right"}
    async with connect(Echo, "/rooms/blue?since=1", options=options, headers=headers) as chat:
        await chat.send("room")
        assert await chat.recv() == "blue"


async def test_a_refused_handshake() -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(Echo, headers={"Authorization": "Bearer wrong"}):
            pass
    assert caught.value.response.status_code == 401
    assert caught.value.response.body == b"who are you?\n"


async def test_origins_are_checked() -> None:
    for origin, status in (("http://localhost", None), ("http://elsewhere", 403)):
        options = {"allowed-origins": ["http://localhost"]}
        opening = connect(Echo, options=options, origin=origin)
        if status is None:
            async with opening:
                pass
        else:
            with pytest.raises(InvalidStatus) as caught:
                await opening.__aenter__()
            assert caught.value.response.status_code == status


async def test_limits_and_their_close_codes() -> None:
    async with connect(Echo, options={"max-remote-payload": 10}) as chat:
        await chat.send("x" * 11)
        with pytest.raises(ConnectionClosedError) as caught:
            await chat.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


async def test_subprotocol_and_compression() -> None:
    options = {"subprotocols": ["v2", "v1"], "permessage-deflate": True}
    async with connect(Echo, options=options, subprotocols=["v1", "v2"]) as chat:
        assert chat.subprotocol == "v2"
        assert chat.response is not None
        assert "permessage-deflate" in chat.response.headers["Sec-WebSocket-Extensions"]
        await chat.send("x" * 50_000)
        assert await chat.recv() == "x" * 50_000
    with pytest.raises(InvalidHandshake):
        await connect(Echo, options=options, subprotocols=["v3"]).__aenter__()


@pytest.mark.parametrize("fragment_size", [0, 300_000, 1_000_000])
async def test_large_fragments_need_no_socket(fragment_size: int) -> None:
    options = {"fragment-size": fragment_size, "max-remote-payload": 2_000_000}
    async with connect(Echo, options=options) as chat:
        await chat.send(b"x" * 900_000)
        assert await chat.recv() == b"x" * 900_000


async def test_a_failing_handler_is_logged_and_closes_with_1011() -> None:
    async with serve({Echo: {"path": "/"}}) as worker, worker.capture_logs() as logs:
        async with worker.websocket_client.get("/") as chat:
            await chat.send("fail")
            with pytest.raises(ConnectionClosedError) as caught:
                await chat.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1011
        record = await logs.wait_for(text="LookupError: a mistake", level="ERROR")
        assert record["module"] == "mpchat.handlers.echo"
        assert record["connection"] == logs.select(text="GET / 101")[0]["connection"]
        assert logs.select(text="closed 1011")


async def test_a_handler_that_says_nothing() -> None:
    async with connect(Echo, time_limit=0.01, open_timeout=60) as chat:
        with pytest.raises(TimeoutError, match=r"the handler sent no message within 0\.01 s"):
            await chat.recv()
        assert isinstance(chat, MemoryConnection)
        chat.time_limit = 60
        await chat.send("still open")
        assert await chat.recv() == "still open"
    with pytest.raises(TimeoutError):
        async with connect(Echo, headers={"Authorization": "Bearer slow"}, time_limit=0.01):
            pass
    with pytest.raises(TimeoutError, match=r"GET / got no answer within 0\.01 s"):
        await request(Orders, headers={"X-Wait": "1"}, time_limit=0.01)


async def test_clients_of_one_handler_and_a_stop() -> None:
    async with serve({Echo: {"path": "/chat"}, Ping: {"path": "/ping"}}) as worker:
        client = worker.websocket_client
        async with client.get("chat") as first, client.get("chat") as second:
            await first.send("stopping")
            assert await first.recv() == "waiting"
            stopping = asyncio.create_task(worker.stop())
            # It has set ``context.stopping``; what was read is answered.
            assert await first.recv() == "stopping"
            for chat in (first, second):
                with pytest.raises(Exception, match="1001"):
                    await chat.recv()
            await stopping
        with pytest.raises(ConnectionRefusedError):
            await worker.service_client.get("/ping")


async def test_a_handler_that_does_not_end_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async with serve({Echo: {"path": "/"}}) as worker:
        chat = await worker.websocket_client.get("/")
        await chat.send("x")
        await chat.send("sleep")
        assert await chat.recv() == "x"
        chat.transport.abort()
    assert "1 connections had not ended by the deadline" in caplog.text


async def test_requests() -> None:
    options = {"path": "/orders/{id}", "method": "GET,POST"}
    answer = await request(Orders, "POST", "/orders/7", json={"a": 1}, options=options)
    assert (answer.status, answer.text) == (201, '/orders/7 7 {"a": 1}')
    answer = await request(Orders, "HEAD", "/x", options={"method": "GET"}, params={"q": "a b"})
    assert (answer.status, answer.content) == (201, b"")
    async with serve({Orders: {"path": "/orders"}}) as worker:
        client = worker.service_client
        assert (await client.get("/nowhere")).status == 404
        answer = await client.put("/orders")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    limits = {"listener": {"handler-defaults": {"max_request_size": 3}}}
    assert (await request(Orders, "POST", data=b"1234", server=limits)).status == 413


async def test_pings_go_by_the_clock() -> None:
    clock = Clock()
    options = {"ping-interval": "20s", "ping-timeout": "20s", "close-timeout": "1m"}
    async with connect(Echo, options=options, clock=clock) as chat:
        # The client answers each of them.
        await clock.advance(3600)
        await chat.send("still here")
        assert await chat.recv() == "still here"
        chat.transport.pause_reading()
        await clock.advance(41)
        chat.transport.resume_reading()
        with pytest.raises(ConnectionClosedError) as caught:
            await chat.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1011, "keepalive ping timeout")


async def test_time_limits_go_by_the_clock() -> None:
    clock = Clock()
    async with connect(Echo, options={"idle-timeout": "1m"}, clock=clock) as chat:
        await clock.advance(50)
        await chat.send("x")
        assert await chat.recv() == "x"
        await clock.advance(50)
        assert chat.close_code is None
        await clock.advance(30)
        with pytest.raises(Exception, match="no messages for too long"):
            await chat.recv()
    slow = {"Authorization": "Bearer slow"}
    async with serve({Echo: {"path": "/", "handshake-timeout": "1h"}}, clock=clock) as worker:
        opening = asyncio.create_task(
            worker.websocket_client.get("/", additional_headers=slow).connect()
        )
        await clock.advance(3600)
        with pytest.raises(InvalidStatus) as caught:
            await opening
    assert caught.value.response.status_code == 504


async def test_rates_go_by_the_clock() -> None:
    clock = Clock()
    options = {"path": "/", "max_requests_per_second": 2}
    async with serve({Echo: options}, clock=clock) as worker:
        for _ in range(3):
            for _ in range(2):
                async with worker.websocket_client.get("/"):
                    pass
            with pytest.raises(InvalidStatus):
                await worker.websocket_client.get("/")
            await clock.advance(1)


async def test_dynamic_config_changes() -> None:
    async with serve({Words: {}, Greeter: {"path": "/"}}) as worker:
        config = worker.dynamic_config
        with pytest.raises(KeyError):
            config.get("GREETING")
        config.set(GREETING="welcome")
        async with worker.websocket_client.get("/") as chat:
            assert await chat.recv() == "welcome."
        assert worker.find(Words).seen_by_hook == "welcome"
        with pytest.raises(ValueError, match="GREETING: expected a string, got 1"):
            config.set(GREETING=1)
        assert config.get("GREETING") == "welcome"
        config.remove("GREETING")
        assert worker.find(Words).greeting() == "hello."


async def test_components_start_and_stop() -> None:
    async with serve({Words: {}, Ping: {"path": "/ping"}}) as worker:
        words = worker.find(Words)
        assert words.is_started
    assert not words.is_started


class Failing(Words):
    """Does not start."""

    name = "failing"

    async def start(self) -> None:
        raise LookupError("no words")


async def test_a_component_that_does_not_start() -> None:
    with pytest.raises(ComponentError, match="component failing failed to start: no words"):
        async with connect(Greeter, components={Failing: {}}):
            pass
    with pytest.raises(ComponentError, match="no component Words asked for by greeter is in the"):
        async with connect(Greeter):
            pass


async def test_mistakes_in_options_are_told_as_in_a_config() -> None:
    with pytest.raises(ConfigError) as caught:
        async with connect(Greeter, options={"limt": 1}, components={Words: {"mark": 1}}):
            pass
    words, unknown = sorted(str(caught.value).splitlines(), reverse=True)
    assert words == "options: components.words.mark: expected a string, got 1"
    assert unknown == "options: components.greeter.limt: unknown option; did you mean 'limit'?"
    with pytest.raises(ConfigError, match="MPCHAT_DRAIN: expected a mapping, got 1"):
        async with connect(Echo, dynamic_config={"MPCHAT_DRAIN": 1}):
            pass


async def test_hooks_are_checked(caplog: pytest.LogCaptureFixture) -> None:
    class Misspelt(WebsocketHandlerBase):
        name = "misspelt"

        async def handle(self, chat: WebSocketConnection, context: Context) -> None:
            """Leave."""

        async def handle_handshakes(self, request: Request, context: Context) -> None:
            """Nothing calls it."""

    class Wrong(WebsocketHandlerBase):
        name = "wrong"

        def handle(self, chat: WebSocketConnection, context: Context) -> None:  # type: ignore[override]
            """Not a coroutine."""

    async with connect(Misspelt):
        assert "nothing calls Misspelt.handle_handshakes; did you mean" in caplog.text
    with pytest.raises(ConfigError, match="got one without async"):
        async with connect(Wrong):
            pass


async def test_an_options_log_level_ends_with_the_test() -> None:
    async with connect(Echo, options={"log-level": "error"}):
        assert logging.getLogger("mpchat.handlers.echo").level == logging.ERROR
    assert logging.getLogger("mpchat.handlers.echo").level == logging.NOTSET


async def test_a_config_with_tls_serves_in_memory_without_its_certificate(tmp_path: Path) -> None:
    config = tmp_path / "static_config.yaml"
    text = (ROOT / "static_config.yaml").read_text()
    tls = "tls: {cert: a.pem, private-key: a.key, ca: [a.pem]}"
    config.write_text(text.replace("port: 8080", f"port: 8080\n                {tls}"))
    (tmp_path / "dynamic_config_fallback.json").write_text("{}")
    async with (
        serve_config(default_component_list(), config) as worker,
        worker.websocket_client.get("chat", origin="http://localhost") as chat,
    ):
        await chat.send("hello")
        assert await chat.recv() == "hello"


async def test_a_service_by_its_own_config(tmp_path: Path) -> None:
    config = ROOT / "static_config.yaml"
    async with serve_config(default_component_list(), config) as worker:
        assert isinstance(worker, Worker)
        assert worker.dynamic_config.get("USERVER_LOG_REQUEST") is True
        assert (await worker.service_client.get("/ping")).status == 200
        async with worker.websocket_client.get("chat") as chat:
            await chat.send("hello")
            assert await chat.recv() == "hello"
    given = {"MPCHAT_LIMITS": {"max_connections": 0}}
    async with serve_config(default_component_list(), config, dynamic_config=given) as worker:
        with pytest.raises(InvalidStatus):
            await worker.websocket_client.get("chat")
    (tmp_path / "bad.yaml").write_text("components_manager: 1\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml:1:"):
        async with serve_config(ComponentList(), tmp_path / "bad.yaml"):
            pass


async def test_a_head_that_does_not_come_goes_by_the_clock() -> None:
    clock = Clock()
    options = {"handshake-timeout": "10s"}
    async with serve({Ping: {"path": "/ping"}}, server=options, clock=clock) as worker:
        client = Client()
        worker.websocket_client.plug(client)
        client.transport.write(b"GET /ping HTTP/1.1\r\nHost:")
        await clock.advance(9)
        assert client.received == b""
        await clock.advance(2)
        assert client.received.startswith(b"HTTP/1.1 408 ")
        client.transport.abort()


class Client(asyncio.Protocol):
    """Keeps what it receives."""

    transport: asyncio.Transport
    received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data


async def test_nothing_is_left_open() -> None:
    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    async def use() -> None:
        async with connect(Echo):
            pass
        with pytest.raises(ComponentError):
            await connect(Greeter).__aenter__()
        with pytest.raises(ComponentError):
            await connect(Greeter, components={Failing: {}}).__aenter__()

    await use()
    before = descriptors()
    for _ in range(5):
        await use()
    # Timers that publish counters hold the last ones.
    async with asyncio.timeout(30):
        while descriptors() > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Reloading(Echo):
    """Has the dynamic config read again."""

    name = "reloading"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self.components = components

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        generation = await self.components.reload_dynamic_config()
        await chat.send(f"{generation} {context.config.generation}")


async def test_a_handler_may_reload_the_dynamic_config() -> None:
    async with connect(Reloading) as chat:
        assert await chat.recv() == "2 2"


class Named(WebsocketHandlerBase):
    """Takes the first message for a name, and closes the connections of the second."""

    name = "named"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self.connections = components.find(Connections)

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        context.identity = Identity(str(await chat.recv()))
        await chat.send(str(len(await self.connections.find(user=context.user))))
        count = await self.connections.close(user=str(await chat.recv()))
        await chat.send(str(count))


async def test_connections_of_a_user_are_found_and_closed() -> None:
    async with serve({Named: {"path": "/"}}) as worker:
        client = worker.websocket_client
        async with client.get("/") as ada, client.get("/") as bob:
            for chat, name in ((ada, "ada"), (bob, "bob")):
                await chat.send(name)
                assert await chat.recv() == "1"
            await bob.send("ada")
            with pytest.raises(ConnectionClosedError) as caught:
                await ada.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 4401
            assert await bob.recv() == "1"
