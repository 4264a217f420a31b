"""handler-rooms: what backends send and are answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mpchat import RoomsHandler
from mpchat.errors import ConfigError
from mpchat.rooms.errors import RoomClosed, RoomError, TooLarge, TooManyRooms, Unavailable
from mpchat.testing import serve
from mpchat.testsuite.clients import ServiceClient
from tests.unit.rooms.fake import AT, EPOCH, FakeRooms
from tests.unit.rooms.test_handler import SaysSo

PATH = "/rooms/{room}"
JSON = {"Content-Type": "application/json"}
OCTETS = {"Content-Type": "application/octet-stream"}


@contextlib.asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[ServiceClient, FakeRooms]]:
    components = {FakeRooms: {}, SaysSo: {}, RoomsHandler: {"path": PATH, **options}}
    async with serve(components) as worker:
        yield worker.service_client, worker.find(FakeRooms)


async def test_a_message_is_published_and_its_position_answered() -> None:
    async with serving() as (client, rooms):
        answer = await client.post("/rooms/a", {"text": "é"})
        assert answer.status == 200
        assert answer.json() == {
            "epoch": EPOCH,
            "offset": 17,
            "at": AT,
            "position": f"{EPOCH}:17:{AT}",
        }
        (message,) = rooms.messages["a"]
        assert (message.data, message.payload) == ({"text": "é"}, '{"text":"é"}'.encode())


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        (JSON, b'"hello"', "hello"),
        (JSON, b"null", None),
        ({"Content-Type": "Application/JSON; charset=utf-8"}, b"[1]", [1]),
        ({"Content-Type": "application/cloudevents+json"}, b"{}", {}),
        (OCTETS, b"\x00\xff", b"\x00\xff"),
        (OCTETS, b"", b""),
    ],
)
async def test_what_a_body_may_be(headers: dict[str, str], body: bytes, expected: Any) -> None:
    async with serving() as (client, rooms):
        answer = await client.post("/rooms/a", data=body, headers=headers)
        assert answer.status == 200
        assert [one.data for one in rooms.messages["a"]] == [expected]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (JSON, b"", 400),
        (JSON, b"hello", 400),
        (JSON, b"NaN", 400),
        (JSON, b"1e999", 400),
        (JSON, b'"\\ud800"', 400),
        (JSON, b"\xff", 400),
        (JSON, b"[" * 100_000, 400),
        ({"Content-Type": "text/plain"}, b"hello", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=1", 415),
        ({}, b"hello", 415),
    ],
)
async def test_what_a_body_may_not_be(headers: dict[str, str], body: bytes, status: int) -> None:
    async with serving() as (client, rooms):
        answer = await client.post("/rooms/a", data=body, headers=headers)
        assert answer.status == status
        assert "code" in answer.json()
        assert rooms.messages == {}


@pytest.mark.parametrize(
    ("key", "expected"), [("k1", "k1"), ('"k 1"', "k 1"), ("  k1 ", "k1"), (64 * "x", 64 * "x")]
)
async def test_an_idempotency_key_is_the_id(key: str, expected: str) -> None:
    async with serving() as (client, rooms):
        await client.post("/rooms/a", 1, headers={"Idempotency-Key": key})
        assert rooms.keys == [(None, "", expected)]


@pytest.mark.parametrize("key", ["", '""', 65 * "x"])
async def test_what_is_no_id(key: str) -> None:
    async with serving() as (client, rooms):
        answer = await client.post("/rooms/a", 1, headers={"Idempotency-Key": key})
        assert answer.status == 400
        assert answer.json()["message"].startswith("Idempotency-Key: expected")
        assert rooms.keys == []


async def test_who_may_is_decided_by_auth_and_method() -> None:
    async with serving(auth={"types": ["says-so"]}, method="POST") as (client, rooms):
        assert (await client.post("/rooms/a", 1)).status == 401
        assert (await client.post("/rooms/a?name=ann", 1)).status == 200
        assert (await client.get("/rooms/a?name=ann")).status == 405
        assert [one.user for one in rooms.messages["a"]] == ["ann"]


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (TooLarge("why"), 413, "payload_too_large", None),
        (RoomClosed("why"), 409, "room_closed", None),
        (TooManyRooms("why"), 503, "too_many_rooms", "10"),
        (Unavailable("why"), 503, "unavailable", "1"),
    ],
)
async def test_what_a_room_refuses(
    error: RoomError, status: int, code: str, retry_after: str | None
) -> None:
    async with serving() as (client, rooms):
        rooms.errors.append(error)
        answer = await client.post("/rooms/a", 1)
        assert (answer.status, answer.json()) == (status, {"code": code, "message": "why"})
        assert answer.headers.get("retry-after") == retry_after


async def test_history_and_members() -> None:
    async with serving() as (client, rooms):
        rooms.listed = [{"user": "ann"}]
        await client.post("/rooms/a", "hello")
        await client.post("/rooms/a", [1])
        await client.post("/rooms/a", data=b"\xff", headers=OCTETS)
        answer = await client.get("/rooms/a")
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {
            "room": "a",
            "epoch": EPOCH,
            "offset": 37,
            "at": AT,
            "position": f"{EPOCH}:37:{AT}",
            "recovered": True,
            "more": False,
            "count": 0,
            "members": [{"user": "ann"}],
            "messages": [
                {"offset": 17, "data": "hello", "at": AT},
                {"offset": 27, "data": [1], "at": AT},
                {"offset": 37, "base64": "/w==", "at": AT},
            ],
        }

        async def offsets(query: str) -> list[int]:
            found = (await client.get(f"/rooms/a?{query}")).json()["messages"]
            return [one["offset"] for one in found]

        assert await offsets("limit=2") == [27, 37]
        assert await offsets("limit=0") == []
        assert await offsets(f"since={EPOCH}:17:{AT}") == [27, 37]
        assert (await client.get("/rooms/a?since=other:1:1")).json()["recovered"] is False
        rooms.listed = None
        assert (await client.get("/rooms/none")).json()["members"] is None


@pytest.mark.parametrize(
    "query", ["limit=-1", "limit=x", "limit=1001", "limit=", "since=1", "since="]
)
async def test_a_question_with_a_mistake(query: str) -> None:
    async with serving() as (client, _rooms):
        answer = await client.get(f"/rooms/a?{query}")
        assert answer.status == 400
        assert answer.json()["message"].startswith(query.partition("=")[0])


async def test_a_room_is_ended() -> None:
    async with serving() as (client, rooms):
        await client.post("/rooms/a", 1)
        answer = await client.request("DELETE", "/rooms/a")
        assert (answer.status, answer.text) == (204, "")
        assert (await client.request("DELETE", "/rooms/b")).status == 404
        assert rooms.closed == ["a"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_no_room_has_such_a_name(method: str) -> None:
    async with serving() as (client, rooms):
        answer = await client.request(method, f"/rooms/{129 * 'x'}", json=1)
        assert answer.status == 400
        assert answer.json()["message"].startswith("expected a room's name")
        assert rooms.closed == []


async def test_a_publish_that_waits_delays_nobody() -> None:
    async with serving() as (client, rooms):
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            begun.set()
            await go_on.wait()

        rooms.errors.append(wait)
        first = asyncio.create_task(client.post("/rooms/a", 1))
        await begun.wait()
        assert (await client.post("/rooms/b", 1)).status == 200
        go_on.set()
        assert (await first).status == 200


async def test_a_path_without_a_room_is_a_mistake_of_the_config() -> None:
    with pytest.raises(ConfigError, match=r"expected a path with \{room\}"):
        async with serve({FakeRooms: {}, RoomsHandler: {"path": "/rooms"}}):
            pass
