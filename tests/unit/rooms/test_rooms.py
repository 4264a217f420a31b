"""Rooms as authors use them, with a worker and its broker in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from mpchat.components.context import Context
from mpchat.rooms.errors import (
    Behind,
    NoSuchRoom,
    RoomClosed,
    TooLarge,
    TooManyMembers,
    TooManyMessages,
    TooManyRooms,
)
from mpchat.rooms.forms import RAW, Form, Frame
from mpchat.rooms.message import Message
from mpchat.rooms.position import Position
from mpchat.rooms.room import Room
from mpchat.rooms.rooms import Rooms
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.frames import TEXT
from tests.unit.rooms.rig import served, until_members

KIB = 1024


async def test_what_one_says_reaches_all() -> None:
    async with (
        served() as service,
        service.client.get("a") as first,
        service.client.get("a") as second,
    ):
        await until_members(service, 2)
        await first.send("hello")
        assert [await one.recv() for one in (first, second)] == ["hello", "hello"]
        await second.send(b"bytes")
        assert [await one.recv() for one in (first, second)] == [b"bytes", b"bytes"]


async def test_members_leave_with_their_connection() -> None:
    async with served() as service:
        async with service.client.get("a"), service.client.get("a") as second:
            await until_members(service, 2)
            await second.close()
            await until_members(service, 1)
        await until_members(service, 0)
        assert not service.rooms.side.registry._rooms


async def test_members_leave_at_the_end_of_the_block() -> None:
    async def handle(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
        async with rooms.join("a", chat) as room:
            await room.publish("in")
        await rooms.publish("a", "out")
        await chat.send("done")
        await chat.recv()

    async with served(handle) as service, service.client.get("a") as chat:
        assert [await chat.recv(), await chat.recv()] == ["in", "done"]
        await until_members(service, 0)


async def test_members_leave_with_a_stack_of_blocks_and_after_an_error() -> None:
    async def handle(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
        with pytest.raises(LookupError):
            async with contextlib.AsyncExitStack() as stack:
                for name in ("a", "b"):
                    room = await stack.enter_async_context(rooms.join(name, chat))
                    await room.publish(f"in {name}")
                raise LookupError
        for name in ("a", "b"):
            await rooms.publish(name, "out")
        await chat.send("done")
        await chat.recv()

    async with served(handle) as service, service.client.get("a") as chat:
        assert [await chat.recv() for _ in range(3)] == ["in a", "in b", "done"]
        await until_members(service, 0)


async def test_a_publish_is_answered_with_its_position() -> None:
    async with served() as service:
        first = await service.rooms.publish("a", "one")
        second = await service.rooms.publish("a", {"two": 2})
        assert first.epoch == second.epoch
        assert 0 < first.offset < second.offset
        found = await service.rooms.history("a")
        assert [one.data for one in found.messages] == ["one", {"two": 2}]
        assert [one.position for one in found.messages] == [first, second]
        assert found.position == second
        later = await service.rooms.history("a", str(first))
        assert (later.recovered, [one.data for one in later.messages]) == (True, [{"two": 2}])


async def test_a_publish_with_the_same_id_is_stored_once() -> None:
    async with served() as service:
        rooms = service.rooms
        first = await rooms.publish("a", "x", id="1", user="u", client="c")
        assert await rooms.publish("a", "y", id="1", user="u", client="c") == first
        others = [
            await rooms.publish("b", "x", id="1", user="u", client="c"),
            await rooms.publish("a", "x", id="1", user="v", client="c"),
            await rooms.publish("a", "x", id="1", user="u", client="d"),
            await rooms.publish("a", "x", id="2", user="u", client="c"),
        ]
        assert len({first, *others}) == 5


async def test_who_comes_back_gets_what_was_missed() -> None:
    async with served() as service:
        rooms = service.rooms
        positions = [await rooms.publish("a", f"{number}") for number in range(5)]
        async with rooms.join("a", None, since=positions[1]) as room:
            assert room.recovered
            await rooms.publish("a", "live")
            got = [(await anext(room)).data for _ in range(4)]
        assert got == ["2", "3", "4", "live"]
        other = positions[1]._replace(epoch="x" * 16)
        async with rooms.join("a", None, since=other) as room:
            assert not room.recovered
            assert room.position.offset >= positions[4].offset


async def test_history_longer_than_a_page_comes_whole_and_in_order() -> None:
    async with served() as service:
        rooms = service.rooms
        start = await rooms.publish("a", "start")
        texts = [f"{number:-<{10 * KIB}}" for number in range(80)]
        await asyncio.gather(*(rooms.publish("a", text) for text in texts))

        async def later() -> None:
            for number in range(20):
                await rooms.publish("a", f"later {number}")

        task = asyncio.create_task(later())
        async with rooms.join("a", None, since=start) as room:
            got = [(await anext(room)).data for _ in range(100)]
        await task
        assert got == [*texts, *(f"later {number}" for number in range(20))]


async def test_a_client_gets_long_history_before_what_is_live() -> None:
    async def handle(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
        async with rooms.join("a", chat, since=context.path_params["room"]):
            await chat.recv()

    async with served(handle) as service:
        rooms = service.rooms
        start = await rooms.publish("a", "start")
        texts = [f"{number:-<{10 * KIB}}" for number in range(60)]
        await asyncio.gather(*(rooms.publish("a", text) for text in texts))
        async with service.client.get(str(start)) as chat:
            await rooms.publish("a", "live")
            assert [await chat.recv() for _ in range(61)] == [*texts, "live"]


async def test_iterating_takes_messages_from_the_client() -> None:
    async def handle(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
        async with rooms.join("a", chat) as room:
            async for message in room:
                await chat.send(f"{message.user} says {message.data}")

    async with served(handle) as service, service.client.get("a") as chat:
        await until_members(service, 1)
        await service.rooms.publish("a", "hello", user="somebody")
        assert await chat.recv() == "somebody says hello"


async def test_an_iteration_ends_with_the_connection() -> None:
    ended: asyncio.Queue[BaseException] = asyncio.Queue()

    async def handle(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
        async with rooms.join("a", chat, form=None) as room:
            try:
                await anext(room)
            except BaseException as error:
                ended.put_nowait(error)
                raise

    async with served(handle) as service:
        async with service.client.get("a"):
            await until_members(service, 1)
        async with asyncio.timeout(10):
            assert isinstance(await ended.get(), ConnectionClosed)


@pytest.mark.covers("RoomsOptions.member-backlog")
async def test_who_does_not_take_messages_falls_behind() -> None:
    async with served(member_backlog=10 * KIB) as service:
        rooms = service.rooms
        async with rooms.join("a", None) as room:
            for _ in range(20):
                await rooms.publish("a", "x" * KIB)
            got = 0
            with pytest.raises(Behind):
                while True:
                    await anext(room)
                    got += 1
            assert 10 <= got < 20
        await until_members(service, 0)


async def test_a_closed_room_ends_its_members() -> None:
    async with served() as service, service.client.get("a") as chat:
        rooms = service.rooms
        await until_members(service, 1)
        async with rooms.join("a", None) as room:
            before = await rooms.publish("a", "last")
            await rooms.close("a")
            assert (await anext(room)).data == "last"
            with pytest.raises(RoomClosed):
                await anext(room)
            with pytest.raises(RoomClosed):
                await room.publish("more")
        assert await chat.recv() == "last"
        with pytest.raises(ConnectionClosed):
            await chat.recv()
        assert chat.close_code == 4404
        with pytest.raises(NoSuchRoom):
            await rooms.close("a")
        # It begins anew, and an old position is none of its.
        async with rooms.join("a", None, since=before) as room:
            assert not room.recovered
        async with rooms.join("a", None) as room:
            await room.publish("again")
            assert (await anext(room)).data == "again"


@pytest.mark.covers("RoomsOptions.max-rooms-per-connection")
async def test_a_connection_has_a_limit_of_rooms() -> None:
    errors: list[Exception] = []

    async def handle(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
        async with rooms.join("1", chat), rooms.join("2", chat):
            for name in ("3", "1"):
                try:
                    async with rooms.join(name, chat):
                        pass
                except (TooManyRooms, ValueError) as error:
                    errors.append(error)
        async with rooms.join("3", chat):
            await chat.send("in")

    async with (
        served(handle, max_rooms_per_connection=2) as service,
        service.client.get("a") as chat,
    ):
        assert await chat.recv() == "in"
    assert [type(error) for error in errors] == [TooManyRooms, ValueError]


@pytest.mark.covers("RoomsOptions.max-members", "RoomsOptions.max-rooms")
async def test_members_and_rooms_have_limits() -> None:
    async with served(max_members=2, max_rooms=3) as service:
        rooms = service.rooms
        async with rooms.join("1", None), rooms.join("2", None):
            with pytest.raises(TooManyMembers):
                async with rooms.join("2", None):
                    pass
            await rooms.publish("3", "x")
            with pytest.raises(TooManyRooms):
                await rooms.publish("4", "x")
        assert not service.rooms.side.registry._questions.all()
        async with rooms.join("2", None) as room:
            assert (await room.members()).number == 1


@pytest.mark.covers("RoomsOptions.publish-rate")
async def test_a_connection_publishes_so_much_in_a_second() -> None:
    async def handle(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
        async with (
            rooms.join("a", chat, form=None) as room,
            rooms.join("b", chat, form=None) as other,
        ):
            for one in (room, other, room):
                await one.publish("x")
            try:
                await other.publish("x")
            except TooManyMessages:
                await chat.send("enough")
            await chat.recv()

    async with served(handle, publish_rate=3) as service, service.client.get("a") as chat:
        assert await chat.recv() == "enough"


async def test_what_does_not_fit_is_refused() -> None:
    async with served(history_memory=1024 * KIB) as service:
        with pytest.raises(TooLarge):
            await service.rooms.publish("a", "x" * 257 * KIB)
        await service.rooms.publish("a", "x")


class Tags(Form):
    """A form that says what it was asked for."""

    def encode(self, message: Message) -> Frame:
        return TEXT, b"<" + message.payload + b">"

    def joined(self, room: str, position: Position, recovered: bool) -> Frame:
        return TEXT, f"{room} {recovered}".encode()

    def presence(self, joined: bool, info: Any) -> Frame:
        return TEXT, f"{info} {'in' if joined else 'out'}".encode()


TAGS = Tags()


async def test_a_form_decides_what_members_are_sent() -> None:
    async def handle(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
        name = context.path_params["room"]
        async with rooms.join("a", chat, info=name, form=TAGS) as room:
            assert (await room.members()).infos
            await chat.recv()

    async with served(handle) as service, service.client.get("one") as one:
        assert await one.recv() == "a True"
        async with service.client.get("two") as two:
            assert await two.recv() == "a True"
            assert await one.recv() == "two in"
            await service.rooms.publish("a", "x")
            assert [await one.recv(), await two.recv()] == ["<x>", "<x>"]
            found = await service.rooms.members("a")
            assert (found.number, sorted(found.infos or ())) == (2, ["one", "two"])
        assert await one.recv() == "two out"


async def test_a_form_that_fails_costs_nobody_else_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Form):
        pass

    broken = Broken()

    async def handle(rooms: Rooms, chat: WebSocketConnection, context: Context) -> None:
        form = broken if context.path_params["room"] == "broken" else RAW
        async with rooms.join("a", chat, form=form):
            await chat.recv()

    async with (
        served(handle) as service,
        service.client.get("broken"),
        service.client.get("whole") as chat,
    ):
        await until_members(service, 2)
        await service.rooms.publish("a", "x")
        assert await chat.recv() == "x"
    assert "a form failed" in caplog.text


async def test_a_room_is_entered_once() -> None:
    async with served() as service:
        room = service.rooms.join("a", None)
        async with room:
            assert (room.name, room.recovered) == ("a", True)
        with pytest.raises(RuntimeError, match="join again"):
            async with room:
                pass


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", "\ud800"])
async def test_some_names_are_none(name: str) -> None:
    async with served() as service:
        with pytest.raises(ValueError, match="name"):
            service.rooms.join(name, None)
        with pytest.raises(ValueError, match="name"):
            await service.rooms.publish(name, "x")


async def test_two_loops_cannot_take_the_messages_of_one_room() -> None:
    async with served() as service, service.rooms.join("a", None) as room:

        async def take(room: Room) -> Message:
            return await anext(room)

        first = asyncio.create_task(take(room))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another"):
            await take(room)
        await service.rooms.publish("a", "x")
        assert (await first).data == "x"


async def test_a_cancelled_take_loses_nothing() -> None:
    async with served() as service, service.rooms.join("a", None) as room:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(room)
        await service.rooms.publish("a", "x")
        assert (await anext(room)).data == "x"


def test_a_message_can_be_copied_and_pickled() -> None:
    message = Message(0, b"x", "ann", "epoch", 17, 1764374400123)
    for made in (copy.copy(message), pickle.loads(pickle.dumps(message))):
        assert (made.kind, made.data, made.user) == (0, "x", "ann")
        assert made.position == message.position
