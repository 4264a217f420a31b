"""``mpchat.room.v1`` and ``handler-rooms`` of a real service, by a client from docs/rooms.md alone.

``Member`` uses a plain WebSocket client and JSON, and nothing of mpchat: that the page says enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.service import Service
from tests.functional.conftest import Serve
from tests.kit.control import Control
from tests.kit.waiting import eventually

DEADLINE = 30.0


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    manager = service_config_yaml["components_manager"]
    manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
    manager["components"] |= {
        "rooms": {"history-memory": 4 * 1024 * 1024},
        "room-handler": {"path": "/rooms/{room}"},
        "handler-rooms": {"path": "/rooms/{room}"},
    }
    return service_config_yaml


class Member:
    """A client that misses nothing and doubles nothing: the five rules of the page."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = f"{random.getrandbits(128):032x}"
        self._position: tuple[str, int, int] | None = None
        self._unanswered: dict[str, Any] = {}
        self._chat: ClientConnection | None = None
        self._number = 0
        self._failures = 0
        self.is_open = asyncio.Event()
        self.seen: list[Any] = []
        self.offsets: list[int] = []
        self.gaps = 0
        self.codes: list[int | None] = []
        self.nacks: list[str] = []

    async def publish(self, data: Any) -> None:
        self._number += 1
        frame = {"publish": f"{self._number}", "data": data}
        self._unanswered[frame["publish"]] = frame
        await self._say(frame)

    async def _say(self, frame: Any) -> None:
        if self.is_open.is_set() and self._chat is not None:
            with contextlib.suppress(websockets.ConnectionClosed):
                await self._chat.send(json.dumps(frame))

    @property
    def is_answered(self) -> bool:
        return not self._unanswered

    async def run(self) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, websockets.WebSocketException):
                await self._connection()
            self.is_open.clear()
            await asyncio.sleep(random.random() * min(30, 2**self._failures) / 10)
            self._failures += 1

    async def _connection(self) -> None:
        url = f"{self._url}?client={self._client}"
        if self._position is not None:
            url += "&since={}:{}:{}".format(*self._position)
        async with connect(
            url, subprotocols=[websockets.Subprotocol("mpchat.room.v1")], proxy=None
        ) as chat:
            self._chat = chat
            first = json.loads(await chat.recv())
            self.gaps += not first["recovered"]
            epoch = first["epoch"]
            self._position = (epoch, first["offset"], first["at"])
            self._failures = 0
            self.is_open.set()
            for frame in list(self._unanswered.values()):
                await self._say(frame)
            try:
                while True:
                    silence = first["heartbeat"] + 10 if first["heartbeat"] else None
                    text = await asyncio.wait_for(chat.recv(), silence)
                    self._hear(epoch, json.loads(text))
            finally:
                self.codes.append(chat.close_code)

    def _hear(self, epoch: str, frame: dict[str, Any]) -> None:
        if "ack" in frame:
            self._unanswered.pop(frame["ack"], None)
        elif "nack" in frame:
            self.nacks.append(frame["reason"])
            if frame["reason"] != "unavailable":
                self._unanswered.pop(frame["nack"], None)
        elif "offset" in frame and self._position is not None:
            assert frame["offset"] > self._position[1]
            self._position = (epoch, frame["offset"], frame["at"])
            self.seen.append(frame["data"])
            self.offsets.append(frame["offset"])


@contextlib.asynccontextmanager
async def members(service: Service, control: Control) -> AsyncIterator[list[Member]]:
    """Four members of the room a, and more until there is one in each worker."""
    found: list[Member] = []
    tasks: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(DEADLINE):
            while len(found) < 4 or not all(row["connections"] for row in control.workers()):
                found.append(Member(f"ws://127.0.0.1:{service.port}/rooms/a"))
                tasks.append(asyncio.create_task(found[-1].run()))
                await found[-1].is_open.wait()
        yield found
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end for end in ended if not isinstance(end, asyncio.CancelledError)] == []


async def expect_all(found: list[Member], expected: set[Any]) -> None:
    await eventually(
        lambda: all(len(one.seen) >= len(expected) and one.is_answered for one in found),
        f"{len(expected)} messages at each",
        DEADLINE,
    )
    for one in found:
        assert (one.seen, one.offsets) == (found[0].seen, found[0].offsets)
    assert len(found[0].seen) == len(expected)
    assert set(found[0].seen) == expected
    assert [one.gaps for one in found] == [0] * len(found)


async def test_nothing_is_missed_or_doubled_while_processes_die(
    supervisor: Service, control: Control
) -> None:
    async with members(supervisor, control) as found:

        async def talk(speaker: int) -> None:
            for number in range(100):
                await found[speaker].publish(f"{speaker}/{number}")
                await asyncio.sleep(0.01)

        async def disturb() -> None:
            for title in ("broker", "worker", "broker"):
                await asyncio.sleep(0.2)
                pid = (await eventually(lambda title=title: supervisor.pids(title), title))[0]  # type: ignore[misc]
                os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(control.restart)

        await asyncio.gather(talk(0), talk(1), disturb())
        expected = {f"{speaker}/{number}" for speaker in (0, 1) for number in range(100)}
        await expect_all(found, expected)
        for speaker in (0, 1):
            own = [text for text in found[2].seen if text.startswith(f"{speaker}/")]
            assert own == [f"{speaker}/{number}" for number in range(100)]
        # The restart has ended when the last old worker drains.
        await eventually(lambda: any(1012 in one.codes for one in found), "an end by the restart")


async def test_what_one_says_without_waiting_keeps_its_order_while_brokers_die(
    supervisor: Service, control: Control
) -> None:
    async with members(supervisor, control) as found:
        for number in range(300):
            if number % 100 == 50:
                (broker,) = supervisor.pids("broker")
                os.kill(broker, signal.SIGKILL)
            await found[0].publish(number)
            if number % 100 == 99:
                await eventually(lambda: found[0].is_answered, "all answers", DEADLINE)
        await expect_all(found, {*range(300)})
        assert found[0].seen == [*range(300)]
        assert (found[0].nacks, found[0].codes) == ([], [])


@pytest.mark.shared_service
async def test_a_backend_publishes_once_and_reads_what_was_said(
    supervisor: Service, control: Control, service_client: ServiceClient
) -> None:
    async with members(supervisor, control) as found:
        key = {"Idempotency-Key": "order-17"}
        first = await service_client.post("/rooms/a", {"order": 17}, headers=key)
        again = await service_client.post("/rooms/a", {"order": 17}, headers=key)
        other = await service_client.post("/rooms/a", "done")
        assert [answer.status for answer in (first, again, other)] == [200] * 3
        assert first.json() == again.json() != other.json()
        await eventually(lambda: all(len(one.seen) == 2 for one in found), "two messages")
        assert all(one.seen == [{"order": 17}, "done"] for one in found)
        history = (await service_client.get("/rooms/a")).json()
        assert [one["data"] for one in history["messages"]] == [{"order": 17}, "done"]
        assert history["position"] == other.json()["position"]
        assert (history["recovered"], history["more"]) == (True, False)
        assert (history["count"], history["members"]) == (len(found), [])
        since = first.json()["position"]
        newer = (await service_client.get(f"/rooms/a?since={since}")).json()
        assert [one["data"] for one in newer["messages"]] == ["done"]


@pytest.mark.shared_service
async def test_an_ended_room_begins_anew(
    websocket_client: WebsocketClient, service_client: ServiceClient
) -> None:
    position = (await service_client.post("/rooms/b", 1)).json()["position"]
    v1 = {"subprotocols": ["mpchat.room.v1"]}
    async with websocket_client.get(f"rooms/b?since={position}", **v1) as chat:
        assert json.loads(await chat.recv())["recovered"] is True
        assert (await service_client.request("DELETE", "/rooms/b")).status == 204
        with contextlib.suppress(websockets.ConnectionClosed):
            await chat.recv()
        assert chat.close_code == 4404
    assert (await service_client.get("/rooms/b")).json()["messages"] == []
    async with websocket_client.get(f"rooms/b?since={position}", **v1) as chat:
        assert json.loads(await chat.recv())["recovered"] is False


@pytest.mark.shared_service
async def test_a_page_reads_the_history_and_then_joins(
    websocket_client: WebsocketClient, service_client: ServiceClient
) -> None:
    for count in (0, 3):
        for number in range(count):
            await service_client.post("/rooms/c", number)
        history = (await service_client.get("/rooms/c")).json()
        assert [one["data"] for one in history["messages"]] == [*range(count)]
        await service_client.post("/rooms/c", "meanwhile")
        path = f"rooms/c?since={history['position']}"
        async with websocket_client.get(path, subprotocols=["mpchat.room.v1"]) as chat:
            assert json.loads(await chat.recv())["recovered"] is True
            assert json.loads(await chat.recv())["data"] == "meanwhile"
        await service_client.request("DELETE", "/rooms/c")


async def test_who_was_away_for_too_long_is_told(serve: Serve) -> None:
    with serve({"rooms.history-size": 3}) as service:
        client = ServiceClient(service.port)
        positions = [(await client.post("/rooms/a", n)).json()["position"] for n in range(6)]
        socket = WebsocketClient(service.port)
        for index, recovered, expected in ((2, True, [3, 4, 5]), (1, False, [])):
            path = f"rooms/a?since={positions[index]}"
            async with socket.get(path, subprotocols=["mpchat.room.v1"]) as chat:
                first = json.loads(await chat.recv())
                assert first["recovered"] is recovered
                assert [json.loads(await chat.recv())["data"] for _ in expected] == expected
                if not recovered:
                    # The end of the room, which may be behind its last message.
                    epoch, offset, at = positions[5].split(":")
                    assert (first["epoch"], first["at"]) == (epoch, int(at))
                    assert first["offset"] >= int(offset)


async def test_too_many_messages_and_a_heartbeat(serve: Serve) -> None:
    with serve({"rooms.publish-rate": 1, "room-handler.heartbeat": "1s"}) as service:
        client = WebsocketClient(service.port)
        async with client.get("rooms/a", subprotocols=["mpchat.room.v1"]) as chat:
            assert json.loads(await chat.recv())["heartbeat"] == 1
            assert await chat.recv() == "{}"
            for number in range(15):
                await chat.send(json.dumps({"publish": f"{number}", "data": number}))
            answers = []
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    answers.append(json.loads(await chat.recv()))
            assert chat.close_code == 4429
            assert {"nack": "5", "reason": "rate"} in answers
            assert {one["data"] for one in answers if "data" in one} == {0}
        async with client.get("rooms/a") as raw:
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await raw.send("hello")
                    await raw.recv()
            assert raw.close_code == 4429


async def test_a_compressed_room(serve: Serve) -> None:
    with serve({"room-handler.permessage-deflate": True}) as service:
        client = WebsocketClient(service.port)
        text = "again and " * 1000
        v1 = {"subprotocols": ["mpchat.room.v1"]}
        async with (
            client.get("rooms/a", compression="deflate", **v1) as one,
            client.get("rooms/a", compression=None, **v1) as other,
        ):
            await one.recv()
            await other.recv()
            await one.send(json.dumps({"publish": "1", "data": text}))
            assert json.loads(await one.recv())["data"] == text
            assert json.loads(await other.recv())["data"] == text
