"""What handlers do, and how their connections end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.service import Service
from tests.kit.control import Control
from tests.kit.raw import HANDLERS, raw_connect
from tests.kit.waiting import eventually

NAMES = (
    "slow",
    "sleeper",
    "ticker",
    "duplex",
    "impatient",
    "poller",
    "prober",
    "returner",
    "failing",
    "closer",
    "quitter",
    "collector",
    "hoarder",
)
CLOSE_1000 = b"\x88\x82\x00\x00\x00\x00\x03\xe8"


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    shutil.copy(HANDLERS, service_tmpdir)
    return [*service_command, "--app", "handlers:components"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    del components["websocket-handler"], components["handler-ping"]
    for name in NAMES:
        components[f"handler-{name}"] = {"path": f"/{name}", "close-timeout": "1s"}
    components["handler-returner"]["fragment-size"] = 2
    components["handler-guarded"] = {"path": "/rooms/{room}"}
    components["handler-broken"] = {"path": "/broken"}
    return service_config_yaml


def text(message: bytes) -> bytes:
    """A text frame masked with zeros."""
    return bytes((0x81, 0x80 | len(message))) + bytes(4) + message


ENDS = [
    pytest.param(CLOSE_1000, b"\x88\x02\x03\xe8", id="Close"),
    pytest.param(b"\x83\x80" + bytes(4), b"\x88\x12\x03\xeaunknown opcode 3", id="mistake"),
]


@pytest.mark.shared_service
@pytest.mark.parametrize(("end", "answer"), ENDS)
@pytest.mark.parametrize("half_close", [False, True])
async def test_an_end_waits_for_the_answers(
    service_port: int, half_close: bool, end: bytes, answer: bytes
) -> None:
    reader, writer = await raw_connect(service_port, "/slow")
    writer.write(text(b"a") + text(b"b") + text(b"c") + end + text(b"late"))
    if half_close:
        writer.write_eof()
    received = await asyncio.wait_for(reader.read(), 30)
    assert received == b"\x81\x01a\x81\x01b\x81\x01c" + answer
    writer.close()
    await writer.wait_closed()


@pytest.mark.shared_service
@pytest.mark.parametrize(("end", "answer"), ENDS)
async def test_a_reply_leaves_though_its_handler_sleeps_with_input_queued(
    service_port: int, end: bytes, answer: bytes
) -> None:
    reader, writer = await raw_connect(service_port, "/sleeper")
    writer.write(text(b"a") * 3)
    assert await asyncio.wait_for(reader.readexactly(3), 30) == b"\x81\x01a"
    # What it has not taken does not hold the end up for longer than close-timeout.
    writer.write(end)
    assert await asyncio.wait_for(reader.read(), 30) == answer
    writer.close()
    await writer.wait_closed()


async def test_a_handler_that_only_sends_sees_the_close(
    websocket_client: WebsocketClient, supervisor: Service
) -> None:
    async with websocket_client.get("ticker") as chat:
        assert await chat.recv() == "tick"
    assert chat.close_code == 1000
    await eventually(lambda: "connection ended" in supervisor.stderr(), "end of the handler")
    assert "Traceback" not in supervisor.stderr()


async def test_a_group_of_tasks_ends_as_one_task_does(
    websocket_client: WebsocketClient, supervisor: Service
) -> None:
    async with websocket_client.get("duplex") as chat:
        assert await chat.recv() == "tick"
    await eventually(lambda: "connection ended" in supervisor.stderr(), "end of the handler")
    assert "Traceback" not in supervisor.stderr()
    async with websocket_client.get("duplex") as chat:
        await chat.send("fail")
        await chat.wait_closed()
    assert chat.close_code == 1011
    await eventually(lambda: "told to fail" in supervisor.stderr(), "traceback of the handler")


@pytest.mark.shared_service
async def test_a_cancelled_recv_loses_nothing(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("impatient") as chat:
        messages = [str(number) for number in range(200)]
        for message in messages:
            await chat.send(message)
        assert [await chat.recv() for _ in messages] == messages


@pytest.mark.shared_service
async def test_try_recv_and_what_is_raised_after_the_end(
    websocket_client: WebsocketClient, supervisor: Service
) -> None:
    async with websocket_client.get("poller") as chat:
        for message in ("one", "two"):
            await chat.send(message)
            assert await chat.recv() == message
        await chat.close(4001, "enough")
    name = "ConnectionClosedError 4001"
    text = f"{[name] * 4} enough"
    await eventually(lambda: text in supervisor.stderr(), "end of the handler")


@pytest.mark.shared_service
async def test_a_second_recv_is_refused_and_a_ping_tells_the_latency(
    websocket_client: WebsocketClient,
) -> None:
    async with websocket_client.get("prober") as chat:
        latency = str(await chat.recv()).removeprefix("latency ")
        assert 0 < float(latency) < 30
        assert await chat.recv() == "another recv is waiting on this connection"
        await chat.send("done")
        with pytest.raises(ConnectionClosedOK):
            await chat.recv()


@pytest.mark.covers("WebsocketOptions.fragment-size")
@pytest.mark.shared_service
async def test_return_is_1000_and_fragments_are_as_configured(service_port: int) -> None:
    reader, writer = await raw_connect(service_port, "/returner")
    received = await asyncio.wait_for(reader.readexactly(8 + 4), 30)
    assert received == b"\x01\x02do\x80\x02ne\x88\x02\x03\xe8"
    writer.write(CLOSE_1000)
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()
    await writer.wait_closed()


@pytest.mark.shared_service
async def test_an_exception_is_1011_and_one_traceback(
    websocket_client: WebsocketClient, supervisor: Service
) -> None:
    async with websocket_client.get("failing") as chat:
        await chat.send("question")
        with pytest.raises(ConnectionClosedError) as caught:
            await chat.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1011
    await eventually(lambda: "no answer to 'question'" in supervisor.stderr(), "traceback")
    assert supervisor.stderr().count("Traceback") == 1


@pytest.mark.shared_service
async def test_close_by_the_handler(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("closer") as chat:
        await chat.send("4321 enough")
        with pytest.raises(ConnectionClosedError) as caught:
            await chat.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4321, "enough")


@pytest.mark.shared_service
async def test_a_client_that_does_not_confirm_a_close_is_cut_off(service_port: int) -> None:
    reader, writer = await raw_connect(service_port, "/returner")
    # It neither confirms nor ends; after close-timeout its socket ends all the same.
    with contextlib.suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 30)
    assert reader.at_eof() or reader.exception() is not None
    writer.close()


@pytest.mark.shared_service
async def test_refused_and_accepted_handshakes(service_port: int) -> None:
    address = f"ws://localhost:{service_port}/rooms/blue"
    with pytest.raises(InvalidStatus) as caught:
        await connect(address).__aenter__()
    assert caught.value.response.status_code == 403
    assert caught.value.response.body == b"say the word\n"
    async with connect(address, additional_headers={"Word": "please"}) as chat:
        assert chat.response is not None
        assert chat.response.headers["Room"] == "blue"
        assert await chat.recv() == "blue"
        with pytest.raises(ConnectionClosedOK):
            await chat.recv()


@pytest.mark.shared_service
async def test_a_failing_page_is_500(service_client: ServiceClient, supervisor: Service) -> None:
    assert (await service_client.get("/broken")).status == 500
    await eventually(lambda: "no such page" in supervisor.stderr(), "traceback")


@pytest.mark.shared_service
async def test_stop_lets_slow_handlers_answer_what_was_read(
    supervisor: Service, service_port: int
) -> None:
    reader, writer = await raw_connect(service_port, "/slow")
    writer.write(b"".join(text(b"%d" % number) for number in range(10)))
    assert await asyncio.wait_for(reader.readexactly(3), 30) == b"\x81\x010"
    supervisor.send_signal(signal.SIGTERM)
    rest = b"".join(b"\x81\x01%d" % number for number in range(1, 10))
    assert (
        await asyncio.wait_for(reader.readexactly(len(rest) + 4), 30) == rest + b"\x88\x02\x03\xe9"
    )
    writer.write(b"\x88\x82\x00\x00\x00\x00\x03\xe9")
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()
    await writer.wait_closed()
    assert await asyncio.to_thread(supervisor.stop) == 0


@pytest.mark.shared_service
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGQUIT])
async def test_a_second_signal_ends_at_once(
    supervisor: Service, websocket_client: WebsocketClient, second: signal.Signals
) -> None:
    async with websocket_client.get("sleeper") as chat:
        await chat.send("a")
        await chat.recv()
        await chat.send("never taken")
        supervisor.send_signal(signal.SIGTERM)
        await asyncio.to_thread(
            supervisor.wait_notified, lambda message: message.get("STOPPING") == "1"
        )
        supervisor.send_signal(second)
        await chat.wait_closed()
        assert await asyncio.to_thread(supervisor.stop, second) == 0
        assert "stopping now" in supervisor.stderr()


@pytest.mark.parametrize(
    ("word", "told"),
    [("exit", "SystemExit: 3"), ("interrupt", "KeyboardInterrupt"), ("cancel", "CancelledError")],
)
@pytest.mark.shared_service
async def test_a_handler_that_quits_ends_its_connection_only(
    supervisor: Service, websocket_client: WebsocketClient, word: str, told: str
) -> None:
    workers = set(supervisor.pids("worker"))
    async with websocket_client.get("quitter") as chat:
        await chat.send(word)
        with pytest.raises(ConnectionClosedError) as caught:
            await chat.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1011
    await eventually(lambda: told in supervisor.stderr(), "traceback")
    assert supervisor.stderr().count("the handler failed") == 1
    assert set(supervisor.pids("worker")) == workers


@pytest.mark.shared_service
async def test_whoever_is_cut_off_at_the_deadline_is_told(
    supervisor: Service, websocket_client: WebsocketClient, dynamic_config: DynamicConfig
) -> None:
    dynamic_config.set(MPCHAT_DRAIN={"window_ms": 1, "deadline_ms": 100})
    async with websocket_client.get("sleeper") as chat:
        await chat.send("a")
        await chat.recv()
        await chat.send("never taken")
        supervisor.send_signal(signal.SIGTERM)
        await chat.wait_closed()
        assert chat.close_code == 1001
    assert await asyncio.to_thread(supervisor.stop) == 0


@pytest.mark.shared_service
async def test_a_client_that_has_only_just_connected_is_answered(
    supervisor: Service, control: Control
) -> None:
    answers: list[bytes] = []
    deadline = time.monotonic() + 30
    # On a busy machine the requests may come when the service waits for them no longer.
    while not answers:
        assert time.monotonic() < deadline
        answers = await ask_those_who_retire(supervisor, control)
    assert [answer[:13] for answer in answers] == [b"HTTP/1.1 404 "] * 8


async def ask_those_who_retire(service: Service, control: Control) -> list[bytes]:
    """Have all workers retire, send requests on connections of before, and return the answers.

    There are none if it took longer than a worker that retires waits for a request.
    """
    told = service.stderr().count("was asked to end")
    await eventually(lambda: control.states() == ["ready"] * 4, "four workers")
    await eventually(lambda: control.totals()["sockets"] == 0, "end of older connections")
    connections = [await asyncio.open_connection("localhost", service.port) for _ in range(8)]
    # One that is not accepted yet is left to the next worker, which does not end it.
    await eventually(lambda: control.totals()["sockets"] == 8, "accepted connections")
    workers, begun = control.ready(), time.monotonic()
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    await eventually(lambda: service.stderr().count("was asked to end") == told + 4, "retirements")
    for _reader, writer in connections:
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
    in_time = time.monotonic() - begun < 0.4
    answers = []
    for reader, writer in connections:
        with contextlib.suppress(ConnectionResetError):
            # Then the connection ends: it is idle, or was told that it is the last answer.
            answers.append(await asyncio.wait_for(reader.read(), 30))
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()
    return answers if in_time else []


@pytest.fixture
def one_worker(service_config_yaml: Any) -> None:
    processors = service_config_yaml["components_manager"]["task_processors"]
    processors["main-task-processor"]["worker_threads"] = 1


@pytest.mark.usefixtures("one_worker")
async def test_a_connection_leaves_no_garbage(
    websocket_client: WebsocketClient, supervisor: Service, service_port: int
) -> None:
    async def ask() -> int:
        async with websocket_client.get("collector") as chat:
            await chat.send("?")
            return int(await chat.recv())

    await ask()
    for _ in range(20):
        async with websocket_client.get("slow") as chat:
            await chat.send("?")
            await chat.recv()
        _reader, writer = await raw_connect(service_port, "/slow")
        writer.transport.abort()
    told = "connection ended"
    await eventually(lambda: supervisor.stderr().count(told) >= 20, "end of the handlers")
    assert await ask() < 20


async def test_full_collections_are_rare(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("hoarder") as chat:
        # As many as 4,000 connections have.
        await chat.send("100000")
        assert await chat.recv() == "0"
        await chat.send("1000000")
        assert int(await chat.recv()) > 0
