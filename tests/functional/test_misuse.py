"""What one client may do and how often: a limit ends who goes beyond it, and says so in its counter."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedOK

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from tests.functional.conftest import Serve
from tests.kit.control import Control
from tests.kit.frames import ANY_MASK, BINARY, CONT, FINAL, PING, PONG, frame
from tests.kit.raw import raw_connect
from tests.kit.waiting import eventually

EMPTY_PING = frame(FINAL | PING, b"")
EMPTY_PONG = frame(FINAL | PONG, b"")
FRAGMENT = frame(BINARY, b"")
CONTINUATION = frame(CONT, b"")
FRAGMENT_OF_ONE = frame(BINARY, b"x")
CONTINUATION_OF_ONE = frame(CONT, b"x")


def message(size: int) -> bytes:
    """A binary message."""
    return frame(FINAL | BINARY, bytes(size))


async def closing_code(port: int, *sent: bytes, pause: float = 0.0, path: str = "/chat") -> int:
    """Send that, and return the code of the Close, the first frame that is neither data nor pong."""
    reader, writer = await raw_connect(port, path)

    async def send() -> None:
        for data in sent:
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(pause)

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(30):
            while True:
                head = await reader.readexactly(2)
                payload = await reader.readexactly(head[1])
                if head[0] == 0x88:
                    return int.from_bytes(payload[:2], "big")
    finally:
        sending.cancel()
        writer.close()


OPTIONS = {
    "max-remote-payload": 100,
    "max-messages-per-second": 10,
    "max-bytes-per-second": 1000,
    "max-control-frames-per-second": 10,
    "message-timeout": "100ms",
    "idle-timeout": "200ms",
}
ONE_LIMIT_EACH = f"""
from mpchat import default_component_list
from mpchat.handlers.chat import Chat

components = default_component_list()
for option in {[*OPTIONS]}:
    components.append(type("Limited", (Chat,), {{"name": f"handler-{{option}}"}}))
"""


@pytest.mark.covers(
    "WebsocketOptions.max-messages-per-second",
    "WebsocketOptions.max-bytes-per-second",
    "WebsocketOptions.max-control-frames-per-second",
)
@pytest.mark.shared_service
@pytest.mark.parametrize(
    ("option", "sent", "code"),
    [
        ("max-remote-payload", message(101), 1009),
        ("max-messages-per-second", message(1) * 11, 1008),
        ("max-messages-per-second", FRAGMENT_OF_ONE + CONTINUATION_OF_ONE * 20, 1008),
        ("max-bytes-per-second", message(100) * 11, 1008),
        ("max-control-frames-per-second", EMPTY_PING * 11, 1008),
        ("max-control-frames-per-second", EMPTY_PONG * 11, 1008),
        ("max-control-frames-per-second", FRAGMENT + CONTINUATION * 10, 1008),
        ("message-timeout", message(100)[:50], 1008),
        ("message-timeout", FRAGMENT_OF_ONE, 1008),
        ("idle-timeout", EMPTY_PING, 1001),
    ],
)
async def test_a_limit_ends_and_counts_who_goes_beyond_it(
    serve: Serve, control: Control, service_tmpdir: Path, option: str, sent: bytes, code: int
) -> None:
    (service_tmpdir / "limited.py").write_text(ONE_LIMIT_EACH)
    changes = {f"handler-{name}": {"path": f"/{name}", name: OPTIONS[name]} for name in OPTIONS}
    with serve(changes, "--app", "limited:components") as service:
        before = control.limits()
        assert await closing_code(service.port, sent, path=f"/{option}") == code
        assert control.limits() == {**before, option: before.get(option, 0) + 1}


async def test_control_frames_have_a_limit_by_default(serve: Serve, control: Control) -> None:
    # Of 100; these are in the midst of a message.
    with serve({}) as service:
        assert await closing_code(service.port, FRAGMENT + EMPTY_PING * 200) == 1008
        assert control.limits() == {"max-control-frames-per-second": 1}


async def test_rates_let_through_what_they_allow(serve: Serve, control: Control) -> None:
    changes = {
        "websocket-handler.max-messages-per-second": 20,
        "websocket-handler.max-bytes-per-second": 20_000,
        "websocket-handler.max-control-frames-per-second": 20,
    }
    with serve(changes) as service:
        async with WebsocketClient(service.port).get("chat") as chat:
            # What one second may bring at once, a second later the same again.
            for _ in range(3):
                for _ in range(20):
                    await chat.send("x" * 500)
                    assert await chat.recv() == "x" * 500
                    await (await chat.ping())
                await asyncio.sleep(1)
        assert control.limits() == {}


@pytest.mark.covers("WebsocketOptions.idle-timeout")
async def test_a_client_that_keeps_talking_is_not_idle(serve: Serve, control: Control) -> None:
    # A busy machine lets the client sleep longer than it wants to.
    with serve({"websocket-handler.idle-timeout": "2s"}) as service:
        async with WebsocketClient(service.port).get("chat") as chat:
            until = time.monotonic() + 4.5
            while time.monotonic() < until:
                await chat.send("x")
                await chat.recv()
                await asyncio.sleep(0.05)
            with pytest.raises(ConnectionClosedOK) as caught:
                await chat.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1001
        assert control.limits() == {"idle-timeout": 1}


@pytest.mark.covers("WebsocketOptions.message-timeout")
async def test_a_message_that_drips_ends_though_something_comes(
    serve: Serve, control: Control
) -> None:
    with serve({"websocket-handler.message-timeout": "300ms"}) as service:
        whole = message(3)
        drips = [whole, b"\x82\xfe\xff\xff" + ANY_MASK, *([b"x"] * 1000)]
        assert await closing_code(service.port, *drips, pause=0.02) == 1008
        assert control.limits() == {"message-timeout": 1}


async def test_who_pings_and_never_reads_is_cut_off(serve: Serve, control: Control) -> None:
    changes = {
        "websocket-handler.max-control-frames-per-second": 1_000_000_000,
        "websocket-handler.write-timeout": "300ms",
        "websocket-handler.write-limit": 1000,
    }
    with serve(changes) as service:
        _reader, writer = await raw_connect(service.port, "/chat")
        ping = frame(FINAL | PING, bytes(125))
        with pytest.raises(ConnectionError):
            while True:
                writer.write(ping * 1000)
                await writer.drain()
                # Our own end of the connection is not read, or the pongs would be taken from it.
                writer.transport.pause_reading()  # type: ignore[attr-defined]
        assert control.limits() == {"write-timeout": 1}


async def test_a_dead_peer_is_counted(serve: Serve, control: Control) -> None:
    changes = {
        "websocket-handler.ping-interval": "200ms",
        "websocket-handler.ping-timeout": "200ms",
    }
    with serve(changes) as service:
        _reader, writer = await raw_connect(service.port, "/chat")
        await eventually(lambda: control.limits() == {"ping-timeout": 1}, "the count")
        writer.close()


@pytest.mark.covers("ListenerOptions.max_connections_per_worker")
async def test_max_connections_per_worker(serve: Serve, control: Control) -> None:
    changes = {
        "server.listener.max_connections_per_worker": 2,
        "task_processors.main-task-processor.worker_threads": 1,
    }
    with serve(changes) as service:
        client = WebsocketClient(service.port)
        async with client.get("chat"), client.get("chat"):
            assert (await ServiceClient(service.port).get("/ping")).status == 503
        assert control.limits() == {"listener.max_connections_per_worker": 1}
        await eventually(lambda: serves(service.port), "a place")


@pytest.mark.covers("ListenerOptions.max_handshakes")
async def test_max_handshakes(serve: Serve, control: Control) -> None:
    with serve({"server.listener.max_handshakes": 2}) as service:
        client = WebsocketClient(service.port)
        # Those that have become WebSockets do not count.
        async with client.get("chat"), client.get("chat"), client.get("chat"):
            begun = [await asyncio.open_connection("localhost", service.port) for _ in range(2)]
            for _reader, writer in begun:
                writer.write(b"GET /chat HT")
            # Two workers that take the second and the third at once would refuse both.
            await eventually(lambda: control.totals()["waiting"] == 2, "two handshakes")
            silent, own = await asyncio.open_connection("localhost", service.port)
            await eventually(
                lambda: control.limits() == {"listener.max_handshakes": 1}, "a refusal"
            )
            assert (await ServiceClient(service.port).get("/ping")).status == 503
            # A socket that is there to be refused does not stay.
            assert await asyncio.wait_for(silent.read(), 30) == b""
            for _reader, writer in begun:
                writer.close()
            own.close()
            await eventually(lambda: serves(service.port), "a place")


async def test_a_slow_head_is_counted(serve: Serve, control: Control) -> None:
    with serve({"server.handshake-timeout": "200ms"}) as service:
        reader, writer = await asyncio.open_connection("localhost", service.port)
        writer.write(b"GET /chat HT")
        assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 408 ")
        assert control.limits() == {"handshake-timeout": 1}
        writer.close()


def serves(port: int) -> bool:
    async def ping() -> int:
        return (await ServiceClient(port).get("/ping")).status

    return asyncio.run(ping()) == 200
