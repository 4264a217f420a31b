"""The members of rooms against a toy of a room: they please the judge, and notice what it does wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.chaos import rooms_judge as judge
from tests.chaos.members import Crowd, Plan
from tests.chaos.rooms_judge import Kept
from tests.chaos.sightings import Notes

KEPT = Kept(messages=1_000_000, size=1_000_000_000)
BARS: dict[str, Callable[[Notes], list[str]]] = {
    "one_order": judge.one_order,
    "none_doubled": lambda notes: judge.none_doubled(notes, KEPT),
    "none_missed": judge.none_missed,
    "told_truly": lambda notes: judge.told_truly(notes, KEPT),
    "in_publishers_order": lambda notes: judge.in_publishers_order(notes, KEPT),
    "first_answer_stands": lambda notes: judge.first_answer_stands(notes, KEPT),
    "all_acknowledged": judge.all_acknowledged,
    "all_back": judge.all_back,
    "none_sent_away": judge.none_sent_away,
    "presence_is_right": lambda notes: judge.presence_is_right(notes, set()),
}


class Toy:
    """Rooms in one process, with one mistake or none."""

    def __init__(self, mistake: str = "") -> None:
        self.mistake = mistake
        self.log: dict[str, list[dict[str, Any]]] = {}
        self.ids: dict[tuple[str, str, str], int] = {}
        self.members: dict[str, dict[ServerConnection, int]] = {}
        self.offset = 0
        self.refused = 0
        self.order = asyncio.Lock()

    async def handle(self, chat: ServerConnection) -> None:
        assert chat.request is not None
        url = urlsplit(chat.request.path)
        room, query = url.path.split("/")[2], parse_qs(url.query)
        log, members = self.log.setdefault(room, []), self.members.setdefault(room, {})
        since = int(query["since"][0].split(":")[1]) if "since" in query else 0
        recovered = self.mistake != "gap" or "since" not in query
        hello = {"room": room, "epoch": "e", "at": 0, "heartbeat": 25}
        try:
            async with self.order:
                start = since if recovered and "since" in query else self.offset
                await self._send(chat, hello | {"offset": start, "recovered": recovered})
                for frame in log:
                    if frame["offset"] > start:
                        await self._send(chat, frame)
                members[chat] = int(query["visit"][0])
            async for text in chat:
                frame = json.loads(text)
                if "publish" in frame:
                    async with self.order:
                        await self._publish(chat, room, query["client"][0], frame)
                else:
                    listed = [{"visit": number} for number in members.values()]
                    await self._send(chat, {"members": listed})
        except ConnectionClosed:
            pass
        finally:
            if self.mistake != "ghosts":
                members.pop(chat, None)

    async def _publish(
        self, chat: ServerConnection, room: str, client: str, frame: dict[str, Any]
    ) -> None:
        name = frame.pop("publish")
        key = (room, client, name)
        if self.mistake == "refusal" and self.refused < 3:
            self.refused += 1
            await self._send(chat, {"nack": name, "reason": "rate"})
            return
        if key not in self.ids or self.mistake == "doubled":
            self.offset += 8
            self.ids[key] = self.offset
            message = frame | {"offset": self.offset, "at": 1}
            self.log[room].append(message)
            for number, member in enumerate([*self.members[room]]):
                if self.mistake == "lost" and number == 0 and self.offset % 40 == 0:
                    continue
                await self._send(member, message)
        await self._send(chat, {"ack": name, "offset": self.ids[key]})

    async def _send(self, chat: ServerConnection, frame: dict[str, Any]) -> None:
        try:
            await chat.send(json.dumps(frame))
        except ConnectionClosed:
            # It comes back, and gets it from the log.
            return


def _came_back(crowd: Crowd) -> int:
    return sum(bool(visit.joined and visit.since) for visit in crowd.visits)


async def played(toy: Toy, patience: float) -> Notes:
    """Return what members note that talk to a toy for a while."""
    subprotocol = Subprotocol("mpchat.room.v1")
    async with serve(toy.handle, "127.0.0.1", 0, subprotocols=[subprotocol]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        plan = Plan(
            port,
            members=8,
            rooms=2,
            opening=200,
            rate=200,
            cut=0.5,
            doubt=0.2,
            ask=0.1,
            patience=patience,
        )
        crowd = Crowd(plan)
        running = asyncio.create_task(crowd.run())
        async with asyncio.timeout(60):
            while len(crowd.publishes) < 200 or _came_back(crowd) < 8:  # noqa: ASYNC110 - it tells no one
                await asyncio.sleep(0.05)
            crowd.over.set()
            await running
    return crowd.notes()


async def test_members_of_a_room_without_mistakes_please_every_bar() -> None:
    notes = await played(Toy(), patience=20)
    assert {name: found for name, bar in BARS.items() if (found := bar(notes))} == {}
    assert any(len(publish.acks) > 1 for publish in notes.publishes)
    assert any(visit.since for visit in notes.visits)


@pytest.mark.parametrize(
    ("mistake", "bar"),
    [
        ("lost", "none_missed"),
        ("doubled", "none_doubled"),
        ("doubled", "first_answer_stands"),
        ("gap", "told_truly"),
        ("refusal", "all_acknowledged"),
    ],
)
async def test_a_mistake_of_the_room_is_noted(mistake: str, bar: str) -> None:
    assert BARS[bar](await played(Toy(mistake), patience=1))
