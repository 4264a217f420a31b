"""What a client publishes before it is answered: when it is begun, and in which order answers come."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection

from mpchat import RoomHandler
from mpchat.rooms.errors import RoomClosed, TooLarge, Unavailable
from mpchat.rooms.position import Position
from mpchat.rooms.rooms import Rooms
from mpchat.rooms.window import MOST, Tally, Window
from mpchat.testing import serve
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.phases import DRAINING, OPEN
from tests.unit.rooms.rig import Service
from tests.unit.rooms.test_handler import PATH, V1, closed, join, serving
from tests.unit.websocket.rig import until

SPOKEN = pytest.mark.parametrize("subprotocols", [[V1], None], ids=["v1", "raw"])


def publish(said: object) -> str:
    """Return the frame that publishes this, by an id that is the same."""
    return json.dumps({"publish": f"{said}", "data": said})


async def answers(chat: ClientConnection, count: int) -> list[Any]:
    """Return what was acknowledged or refused, in order, without the messages between."""
    found: list[Any] = []
    while len(found) < count:
        frame = json.loads(await chat.recv())
        if "ack" in frame or "nack" in frame:
            found.append(frame.get("ack") or [frame["nack"], frame["reason"]])
    return found


async def test_what_has_arrived_is_published_at_once_and_answered_in_order() -> None:
    async with serving() as (worker, rooms), join(worker) as chat:
        await chat.recv()
        gates = [asyncio.Event() for _ in range(2)]
        rooms.errors += [gates[0].wait, gates[1].wait, RoomClosed("x"), TooLarge("x")]
        await chat.send(publish("first"))
        await until(lambda: len(rooms.keys) == 1)
        for number in range(5):
            await chat.send(publish(number))
        await chat.send('{"publish": "invalid"}')
        gates[0].set()
        # The others of these have arrived while the first was open.
        await until(lambda: len(rooms.keys) == 6)
        assert await answers(chat, 1) == ["first"]
        said = [json.loads(await chat.recv()).get("data") for _ in range(2)]
        assert said == [3, 4], "their answers wait for that to the message before them"
        gates[1].set()
        refused = [["1", "closed"], ["2", "size"], ["invalid", "invalid"]]
        assert await answers(chat, 6) == ["0", *refused[:2], "3", "4", refused[2]]


async def test_no_more_are_open_than_the_window_has() -> None:
    async with serving() as (worker, rooms), worker.websocket_client.get("rooms/a") as chat:
        gate = asyncio.Event()
        rooms.errors += [gate.wait] * (2 * MOST)
        for number in range(2 * MOST):
            await chat.send(f"{number}")
        await until(lambda: bool(rooms.keys))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(rooms.keys) <= MOST
        gate.set()
        assert [await chat.recv() for _ in range(2 * MOST)] == [f"{n}" for n in range(2 * MOST)]


@SPOKEN
async def test_a_close_waits_for_what_is_open(subprotocols: Any) -> None:
    async with serving() as (worker, rooms):
        gates = [asyncio.Event() for _ in range(2)]
        rooms.errors += [gates[0].wait, *[gates[1].wait] * 9]
        async with worker.websocket_client.get("rooms/a", subprotocols=subprotocols) as chat:
            for number in range(10):
                await chat.send(publish(number))
            await until(lambda: bool(rooms.keys))
            closing = asyncio.create_task(chat.close())
            gates[0].set()
            await until(lambda: len(rooms.keys) == 10)
            assert rooms.joined
            gates[1].set()
            if subprotocols:
                assert await answers(chat, 10) == [f"{number}" for number in range(10)]
            await closing
        assert len(rooms.messages["a"]) == 10


@SPOKEN
async def test_a_member_that_is_cut_off_leaves_when_nothing_is_open(subprotocols: Any) -> None:
    async with serving() as (worker, rooms):
        gate = asyncio.Event()
        rooms.errors += [gate.wait] * 3
        async with worker.websocket_client.get("rooms/a", subprotocols=subprotocols) as chat:
            for number in range(3):
                await chat.send(publish(number))
            await until(lambda: bool(rooms.keys))
            chat.transport.abort()
            await chat.wait_closed()
        assert rooms.joined
        gate.set()
        await until(lambda: not rooms.joined)


async def test_a_raw_client_is_ended_after_what_it_said_before() -> None:
    async with serving(max_message_size=10) as (worker, rooms):
        async with worker.websocket_client.get("rooms/a") as chat:
            gate = asyncio.Event()
            rooms.errors += [gate.wait]
            await chat.send("first")
            await until(lambda: bool(rooms.keys))
            for text in ("second", 11 * "x", "never"):
                await chat.send(text)
            gate.set()
            assert [await chat.recv() for _ in range(2)] == ["first", "second"]
            assert await closed(chat) == (1009, "the message is too large")
        assert len(rooms.keys) == 2


async def test_a_raw_client_that_is_refused_is_ended_when_all_else_is_answered() -> None:
    async with serving() as (worker, rooms), worker.websocket_client.get("rooms/a") as chat:
        gate, refused = asyncio.Event(), asyncio.Event()
        rooms.errors += [gate.wait, Unavailable("x")]
        await chat.send("first")
        await chat.send("second")
        await until(lambda: len(rooms.keys) == 2)
        rooms.publishing[1].add_done_callback(lambda _done: refused.set())
        await refused.wait()
        await chat.send("never")
        gate.set()
        assert await chat.recv() == "first"
        assert await closed(chat) == (1013, "x")
        assert len(rooms.keys) == 2


@SPOKEN
async def test_a_worker_that_ends_waits_for_what_is_open(subprotocols: Any) -> None:
    async with serving() as (worker, rooms):
        gate = asyncio.Event()
        rooms.errors += [gate.wait] * 3
        async with worker.websocket_client.get("rooms/a", subprotocols=subprotocols) as chat:
            for number in range(3):
                await chat.send(publish(number))
            await until(lambda: bool(rooms.keys))
            (connection,) = worker._server.registry.connections
            stopping = asyncio.create_task(worker.stop())
            await until(lambda: connection.phase is not OPEN)
            assert connection.phase is DRAINING
            gate.set()
            if subprotocols:
                assert await answers(chat, 3) == ["0", "1", "2"]
            assert (await closed(chat))[0] == 1001
            await stopping
        assert len(rooms.messages["a"]) == 3


@pytest.mark.parametrize("error", [None, asyncio.CancelledError, ConnectionError])
async def test_what_is_open_ends_with_the_window(error: type[BaseException] | None) -> None:
    """Who is cancelled gives it up, others wait; and asyncio has nothing to complain of."""
    incoming = SimpleNamespace(messages=[], in_hand=0)
    chat = SimpleNamespace(_protocol=SimpleNamespace(incoming=incoming))
    loop = asyncio.get_running_loop()
    complaints: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    answers: list[asyncio.Future[Position]] = [loop.create_future() for _ in range(3)]
    answers[0].set_exception(Unavailable("x"))
    loop.call_soon(answers[1].set_exception, Unavailable("x"))
    loop.call_soon(answers[2].set_result, Position("x", 1, 1))
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        window: Window[int] = Window(cast(WebSocketConnection, chat))
        async with window:
            for number, answer in enumerate(answers):
                window.add(number, answer)
            assert incoming.in_hand == 3
            if error is not None:
                raise error
    assert incoming.in_hand == 0
    assert [answer.cancelled() for answer in answers[1:]] == [error is asyncio.CancelledError] * 2
    answers.clear()
    assert not complaints


@pytest.mark.parametrize("error", [None, asyncio.CancelledError, ConnectionError])
async def test_what_is_open_ends_with_the_tally(error: type[BaseException] | None) -> None:
    """Who is cancelled counts no more, others wait."""
    ends: list[tuple[int, str]] = []
    incoming = SimpleNamespace(in_hand=0, callback=None)
    protocol = SimpleNamespace(incoming=incoming, close=lambda *end: ends.append(end))
    chat = cast(WebSocketConnection, SimpleNamespace(_protocol=protocol))
    loop = asyncio.get_running_loop()
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        async with Tally(chat, lambda error: (1013, str(error))) as tally:
            for _ in range(3):
                await tally.add()
            assert incoming.in_hand == 3
            assert not tally.done()
            if error is not asyncio.CancelledError:
                loop.call_soon(tally.set_result, Position("x", 1, 1))
                loop.call_soon(tally.set_exception, Unavailable("first"))
                loop.call_soon(tally.set_exception, Unavailable("second"))
            if error is not None:
                raise error
    assert incoming.in_hand == 0
    assert tally.done()
    assert ends == ([] if error is asyncio.CancelledError else [(1013, "first")])


@contextlib.asynccontextmanager
async def real() -> AsyncIterator[Service]:
    async with serve({Rooms: {}, RoomHandler: {"path": PATH}}) as worker:
        yield Service(worker)


@SPOKEN
async def test_a_clients_order_outlives_its_broker(subprotocols: Any) -> None:
    count = 300
    async with (
        real() as service,
        service.rooms.join("a", None) as room,
        service.client.get("rooms/a", subprotocols=subprotocols) as chat,
    ):
        for number in range(count):
            await chat.send(publish(number) if subprotocols else f"{number}")
            if number % 50 == 25:
                for _ in range(number // 25):
                    await asyncio.sleep(0)
                service.kill_broker()
                service.start_broker()
        expected = [f"{number}" for number in range(count)]
        if subprotocols:
            assert await answers(chat, count) == expected
        assert [str((await anext(room)).data) for _ in range(count)] == expected
