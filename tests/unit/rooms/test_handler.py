"""room-handler: what a client is answered, and with which code its connection ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mpchat import (
    Access,
    AuthCheckerBase,
    Component,
    Context,
    HttpRequest,
    Identity,
    Request,
    RoomHandler,
)
from mpchat.errors import ConfigError
from mpchat.rooms.errors import (
    RoomClosed,
    RoomError,
    TooLarge,
    TooManyMembers,
    TooManyMessages,
    TooManyRooms,
    Unavailable,
)
from mpchat.testing import Clock, serve
from mpchat.testing.worker import Worker
from tests.unit.rooms.fake import AT, EPOCH, FakeRooms

V1 = "mpchat.room.v1"
PATH = "/rooms/{room}"
CLIENT = "0123456789abcdef"


class SaysSo(AuthCheckerBase):
    """Believes the query."""

    name = "says-so"
    challenge = "Name"

    async def check(self, request: Request, context: Context) -> Identity | None:
        name = HttpRequest(request).query.get("name")
        return None if name is None else Identity(name)


class Doorkeeper(RoomHandler):
    """Answers as the room is called."""

    name = "room-handler"

    async def authorize(self, room: str, context: Context) -> Access | bool:
        if room in {"yes", "no"}:
            return room == "yes"
        return Access[room.upper()]


@contextlib.asynccontextmanager
async def serving(
    handler: type[RoomHandler] = RoomHandler, clock: Clock | None = None, **options: Any
) -> AsyncIterator[tuple[Worker, FakeRooms]]:
    options = {"path": PATH, **{name.replace("_", "-"): value for name, value in options.items()}}
    components: dict[type[Component], Any]
    components = {FakeRooms: {"publish-rate": 5}, SaysSo: {}, handler: options}
    async with serve(components, clock=clock) as worker:
        yield worker, worker.find(FakeRooms)


def join(worker: Worker, path: str = "rooms/a", **more: Any) -> Any:
    return worker.websocket_client.get(path, subprotocols=[V1], **more)


async def ask(chat: ClientConnection, frame: Any) -> Any:
    await chat.send(json.dumps(frame))
    return json.loads(await chat.recv())


async def closed(chat: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            await chat.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


async def test_a_member_is_told_where_it_stands_and_then_each_message() -> None:
    async with serving() as (worker, _rooms), join(worker) as one, join(worker) as other:
        assert one.subprotocol == V1
        first = {
            "room": "a",
            "epoch": EPOCH,
            "offset": 7,
            "at": 0,
            "recovered": True,
            "heartbeat": 25,
        }
        assert json.loads(await one.recv()) == json.loads(await other.recv()) == first
        assert json.loads(await one.recv()) == {"joined": None}
        await one.send('{"publish": "x", "data": {"a": 1}}')
        message = {"offset": 17, "data": {"a": 1}, "at": AT}
        assert json.loads(await one.recv()) == json.loads(await other.recv()) == message
        assert json.loads(await one.recv()) == {"ack": "x", "offset": 17}


async def test_who_comes_back_gets_what_was_missed() -> None:
    async with serving() as (worker, rooms):
        for payload in (b"one", b"two"):
            await rooms.publish_encoded("a", 0, payload)
        async with join(worker, f"rooms/a?since={EPOCH}:17:5") as chat:
            first = json.loads(await chat.recv())
            assert (first["offset"], first["at"], first["recovered"]) == (17, 5, True)
            assert json.loads(await chat.recv())["data"] == "two"


@pytest.mark.parametrize(
    "since", ["other:17:5", "17", "", "a:b:c", f"{EPOCH}:17", f"{EPOCH}:{2**53}:1"]
)
async def test_a_position_of_no_history_is_not_recovered(since: str) -> None:
    async with serving() as (worker, rooms):
        await rooms.publish_encoded("a", 0, b"one")
        async with join(worker, f"rooms/a?since={since}") as chat:
            first = json.loads(await chat.recv())
            assert (first["offset"], first["at"], first["recovered"]) == (17, AT, False)


async def test_without_the_subprotocol_frames_are_the_messages() -> None:
    async with serving() as (worker, rooms), worker.websocket_client.get("rooms/a") as raw:
        async with join(worker) as chat:
            await chat.recv()
            await raw.send("hello")
            assert await raw.recv() == "hello"
            assert json.loads(await chat.recv())["data"] == "hello"
            await raw.send(b"\x00\xff")
            assert await raw.recv() == b"\x00\xff"
            assert json.loads(await chat.recv())["base64"] == "AP8="
            await chat.send('{"publish": "1", "data": "hello"}')
            assert await raw.recv() == "hello"
            await chat.send('{"publish": "2", "data": [1, "é"]}')
            assert await raw.recv() == '[1,"é"]'
            await chat.send('{"publish": "3", "base64": "AP8="}')
            assert await raw.recv() == b"\x00\xff"
        assert raw.subprotocol is None
        assert len(rooms.keys) == 5


async def test_another_version_is_another_subprotocol() -> None:
    async with serving() as (worker, _rooms):
        with pytest.raises(InvalidStatus) as caught:
            async with worker.websocket_client.get("rooms/a", subprotocols=["mpchat.room.v2"]):
                pass
        assert caught.value.response.status_code == 400
        offers = ["mpchat.room.v2", V1]
        async with worker.websocket_client.get("rooms/a", subprotocols=offers) as chat:
            assert chat.subprotocol == V1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TooManyMessages("x"), "rate"),
        (TooLarge("x"), "size"),
        (RoomClosed("x"), "closed"),
        (Unavailable("x"), "unavailable"),
        (TooManyRooms("x"), "unavailable"),
    ],
)
async def test_why_a_message_is_not_published(error: RoomError, reason: str) -> None:
    async with serving() as (worker, rooms), join(worker) as chat:
        await chat.recv()
        rooms.errors.append(error)
        assert await ask(chat, {"publish": "x", "data": 1}) == {"nack": "x", "reason": reason}
        # It goes on.
        await chat.send('{"publish": "y", "data": 2}')
        assert json.loads(await chat.recv())["data"] == 2


async def test_an_invalid_publish_is_answered_and_nothing_else_of_it_is_done() -> None:
    async with serving() as (worker, rooms), join(worker) as chat:
        await chat.recv()
        answer = await ask(chat, {"publish": "x"})
        assert answer == {"nack": "x", "reason": "invalid"}
        await chat.send('{"unknown": 1}')
        answer = await ask(chat, {"publish": 65 * "x", "data": 1})
        assert answer == {"nack": 65 * "x", "reason": "invalid"}
        assert rooms.keys == []


@pytest.mark.covers("RoomHandler.max-message-size")
async def test_a_message_as_it_is_stored_has_a_limit() -> None:
    async with serving(max_message_size=10) as (worker, rooms):
        async with join(worker) as chat, worker.websocket_client.get("rooms/a") as raw:
            await chat.recv()
            await chat.recv()
            answer = await ask(chat, {"publish": "x", "data": "é" * 6})
            assert answer == {"nack": "x", "reason": "size"}
            await chat.send(json.dumps({"publish": "y", "data": "é" * 5}))
            assert await raw.recv() == "é" * 5
            await raw.send("é" * 6)
            assert await closed(raw) == (1009, "the message is too large")
        assert len(rooms.keys) == 1


@pytest.mark.parametrize(
    ("room", "code", "reason"),
    [
        ("refused", 4403, "you may not join this room"),
        ("no", 4403, "you may not join this room"),
        ("unknown", 4404, "there is no such room"),
    ],
)
@pytest.mark.parametrize("subprotocols", [[V1], None])
async def test_who_may_not_join_is_told_by_the_code(
    room: str, code: int, reason: str, subprotocols: Any
) -> None:
    async with serving(Doorkeeper) as (worker, rooms):
        path = f"rooms/{room}"
        async with worker.websocket_client.get(path, subprotocols=subprotocols) as chat:
            assert await closed(chat) == (code, reason)
        assert rooms.joined == []


@pytest.mark.parametrize("room", ["join", "yes"])
async def test_who_may_join(room: str) -> None:
    async with serving(Doorkeeper) as (worker, _rooms), join(worker, f"rooms/{room}") as chat:
        await chat.recv()
        await chat.send('{"publish": "1", "data": 1}')
        assert json.loads(await chat.recv())["data"] == 1


async def test_who_may_only_listen() -> None:
    async with serving(Doorkeeper) as (worker, rooms), join(worker, "rooms/listen") as chat:
        await chat.recv()
        answer = await ask(chat, {"publish": "x", "data": 1})
        assert answer == {"nack": "x", "reason": "forbidden"}
        async with worker.websocket_client.get("rooms/listen") as raw:
            await raw.send("hello")
            assert await closed(raw) == (4403, "you may not publish in this room")
        assert rooms.keys == []


@pytest.mark.parametrize("room", [129 * "x", "a%0Ab"])
async def test_no_room_has_such_a_name(room: str) -> None:
    async with serving() as (worker, _rooms), join(worker, f"rooms/{room}") as chat:
        code, reason = await closed(chat)
        assert code == 4404
        assert reason.startswith("expected a room's name")


@pytest.mark.parametrize("error", [Unavailable("no"), TooManyRooms("no"), TooManyMembers("no")])
@pytest.mark.parametrize("subprotocols", [[V1], None])
async def test_who_cannot_join_now_comes_back(error: RoomError, subprotocols: Any) -> None:
    async with serving() as (worker, rooms):
        rooms.join_error = error
        async with worker.websocket_client.get("rooms/a", subprotocols=subprotocols) as chat:
            assert await closed(chat) == (1013, "no")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TooManyMessages("x"), 4429),
        (TooLarge("x"), 1009),
        (RoomClosed("x"), 4404),
        (Unavailable("x"), 1013),
    ],
)
async def test_without_the_subprotocol_what_is_not_published_ends_the_connection(
    error: RoomError, code: int
) -> None:
    async with serving() as (worker, rooms), worker.websocket_client.get("rooms/a") as raw:
        await raw.send("hello")
        assert await raw.recv() == "hello"
        rooms.errors.append(error)
        await raw.send("hello")
        assert (await closed(raw))[0] == code


async def test_who_goes_on_although_its_messages_are_refused_is_ended() -> None:
    async with serving() as (worker, rooms), join(worker) as chat:
        await chat.recv()
        rooms.errors += [TooManyMessages("x")] * 11
        for _ in range(11):
            answer = await ask(chat, {"publish": "x", "data": 1})
            assert answer == {"nack": "x", "reason": "rate"}
        assert await closed(chat) == (4429, "too many messages")


@pytest.mark.parametrize(
    ("frame", "code"), [("hello", 1007), ("[]", 1007), (b'{"publish": "1", "data": 1}', 1003)]
)
async def test_what_is_no_frame_of_the_subprotocol_ends_the_connection(
    frame: str | bytes, code: int
) -> None:
    async with serving() as (worker, _rooms), join(worker) as chat:
        await chat.recv()
        await chat.send(frame)
        found, reason = await closed(chat)
        assert found == code
        assert V1 in reason


async def test_ids_belong_to_the_user_and_the_client() -> None:
    async with serving(auth={"types": ["says-so"]}) as (worker, rooms):
        async with (
            join(worker, f"rooms/a?name=ann&client={CLIENT}") as named,
            join(worker, "rooms/a?name=ann") as one,
            join(worker, "rooms/a?name=ann") as other,
        ):
            for chat in (named, one, other):
                await chat.send('{"publish": "1", "data": 1}')
                while "ack" not in json.loads(await chat.recv()):
                    pass
        (user, client, name), *rest = rooms.keys
        assert (user, client, name) == ("ann", CLIENT, "1")
        # Who gives no name has one for as long as it is connected.
        assert all(len(client) >= 16 for _user, client, _id in rest)
        assert len({client for _user, client, _id in rooms.keys}) == 3


@pytest.mark.parametrize("name", ["", 15 * "x", 65 * "x", "0123456789abcde%20"])
async def test_a_clients_name_is_checked(name: str) -> None:
    async with serving() as (worker, _rooms), join(worker, f"rooms/a?client={name}") as chat:
        code, reason = await closed(chat)
        assert code == 1008
        assert reason.startswith("client: expected")


async def test_messages_and_hints_name_the_user_that_the_handshake_found_out() -> None:
    async with serving(auth={"types": ["says-so"]}) as (worker, _rooms):
        async with join(worker, "rooms/a?name=ann") as ann:
            await ann.recv()
            async with join(worker, "rooms/a?name=bob") as bob:
                await bob.recv()
                assert json.loads(await ann.recv()) == {"joined": {"user": "bob"}}
                await bob.send('{"publish": "1", "data": 1, "by": "eve"}')
                assert json.loads(await ann.recv())["by"] == "bob"
        with pytest.raises(InvalidStatus):
            await join(worker).__aenter__()


async def test_who_is_there() -> None:
    async with serving() as (worker, rooms), join(worker) as chat:
        await chat.recv()
        rooms.listed = [{"user": "ann"}, {"user": "bob"}]
        assert await ask(chat, {"members": True}) == {"members": rooms.listed}
        rooms.listed = None
        assert await ask(chat, {"members": True}) == {"presence": False}


@pytest.mark.covers("RoomHandler.heartbeat")
async def test_a_client_that_hears_nothing_else_hears_a_heartbeat() -> None:
    clock = Clock()
    async with serving(clock=clock, heartbeat="8s") as (worker, rooms), join(worker) as chat:
        first = json.loads(await chat.recv())
        assert first["heartbeat"] == 8
        await clock.advance(7.5)
        await rooms.publish_encoded("a", 0, b"one")
        assert json.loads(await chat.recv())["data"] == "one"
        # It was heard of a moment ago.
        await clock.advance(5)
        await rooms.publish_encoded("a", 0, b"two")
        assert json.loads(await chat.recv())["data"] == "two"
        await clock.advance(8.1)
        assert await chat.recv() == "{}"
        await clock.advance(8.1)
        assert await chat.recv() == "{}"


async def test_a_heartbeat_may_be_off() -> None:
    clock = Clock()
    async with serving(clock=clock, heartbeat="0s") as (worker, rooms), join(worker) as chat:
        assert json.loads(await chat.recv())["heartbeat"] == 0
        await clock.advance(15)
        await rooms.publish_encoded("a", 0, b"one")
        assert json.loads(await chat.recv())["data"] == "one"


async def test_a_path_without_a_room_is_a_mistake_of_the_config() -> None:
    with pytest.raises(ConfigError, match=r"expected a path with \{room\}"):
        async with serve({FakeRooms: {}, RoomHandler: {"path": "/rooms"}}):
            pass
