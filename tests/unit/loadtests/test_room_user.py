"""The scenario of rooms finds a service's mistakes: the ledger alone, and locust with rooms that err."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from room_ledger import Ledger, Member, WrongDelivery
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from mpchat.testsuite.service import wait_until
from tests.kit.serving import serving

LOADTESTS = Path(__file__).parents[3] / "loadtests"
offsets = st.sets(st.integers(min_value=1, max_value=60))


@given(offsets, offsets, st.integers(min_value=0, max_value=60), st.data())
def test_a_member_must_see_what_was_acknowledged_behind_its_beginning(
    published: set[int], seen: set[int], begun: int, data: st.DataObject
) -> None:
    ledger = Ledger()
    member = Member(ledger, "a", begun)
    order = data.draw(st.permutations(sorted(published)))
    told = data.draw(st.integers(min_value=0, max_value=len(order)))
    for offset in order[:told]:
        ledger.acknowledged("a", offset)
    comes = sorted(offset for offset in seen if offset > begun)
    for offset in comes:
        member.sees(offset)
        with suppress(WrongDelivery):
            member.compare()
    for offset in order[told:]:
        ledger.acknowledged("a", offset)
    due = {offset for offset in published if begun < offset <= member.last}
    missed = due - set(comes)
    fresh = Member(ledger, "a", begun)
    for offset in comes:
        fresh.sees(offset)
    if missed:
        with pytest.raises(WrongDelivery, match="did not come"):
            fresh.compare()
    else:
        assert fresh.compare() == len(due)
        assert member.compare() <= len(due)


def test_each_acknowledged_message_is_compared_once() -> None:
    ledger = Ledger()
    member = Member(ledger, "a", 10)
    for offset in (5, 11, 12, 14):
        ledger.acknowledged("a", offset)
    ledger.acknowledged("b", 13)
    for offset in (11, 12):
        member.sees(offset)
    assert (member.compare(), member.compare()) == (2, 0)
    member.sees(14)
    assert member.compare() == 1
    assert ledger.newest("a") == 14
    assert ledger.newest("c") == 0


@pytest.mark.parametrize(("again", "told"), [(12, "again"), (11, "behind 12")])
def test_a_message_comes_once_and_in_order(again: int, told: str) -> None:
    member = Member(Ledger(), "a", 10)
    member.sees(12)
    with pytest.raises(WrongDelivery, match=told):
        member.sees(again)


Deliver = Callable[[int, str], list[str]]
"""What is sent of a message with an offset to the member that joined last."""


class Rooms:
    """Rooms in one process that speak the subprotocol, but for their errors."""

    def __init__(self, deliver: Deliver, *, recovers: bool = True) -> None:
        self._deliver = deliver
        self._recovers = recovers
        self.published = self.came_back = 0
        self._offset = 100
        self._members: dict[str, list[ServerConnection]] = {}
        self._history: dict[str, list[tuple[int, str]]] = {}

    async def serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path, _, query = connection.request.path.partition("?")
        members = self._members.setdefault(path, [])
        history = self._history.setdefault(path, [])
        with suppress(ConnectionClosed):
            offset = self._offset
            if "since=" in query:
                self.came_back += 1
                offset = int(query.partition("since=")[2].split(":")[1])
            back = [frame for number, frame in history if number > offset]
            await connection.send(json.dumps(self._welcome(offset)))
            for frame in back:
                await connection.send(frame)
            members.append(connection)
            async for text in connection:
                await self._publish(path, connection, json.loads(text))
        if connection in members:
            members.remove(connection)

    def _welcome(self, offset: int) -> dict[str, Any]:
        known = {"room": "a", "epoch": "e", "offset": offset, "at": 1, "heartbeat": 25}
        return {**known, "recovered": self._recovers, "unknown": [1]}

    async def _publish(self, path: str, connection: ServerConnection, said: dict[str, Any]) -> None:
        self.published += 1
        self._offset += 10
        offset = self._offset
        frame = json.dumps({"offset": offset, "data": said["data"], "at": 2})
        self._history[path].append((offset, frame))
        *others, last = self._members[path]
        # Some may just be gone.
        for member in others:
            with suppress(ConnectionClosed):
                await member.send(frame)
        with suppress(ConnectionClosed):
            for part in self._deliver(offset, frame):
                await last.send(part)
        await connection.send(json.dumps({"ack": said["publish"], "offset": offset}))


def locust(rooms: Rooms) -> tuple[int, str]:
    """Let locust work until there was enough; return its exit code, and what it said."""
    with serving(rooms.serve, ["mpchat.room.v1"]) as port:
        process = started(port)
        wait_until(lambda: rooms.published >= 80 and rooms.came_back >= 2, "enough work", 60)
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate()
    return process.returncode, told


def started(port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "locust", "-f", str(LOADTESTS / "locustfile.py"), "--headless"]
    command += ["--host", f"ws://127.0.0.1:{port}/chat", "--only-summary", "--stop-timeout", "20"]
    command += ["--users", "12", "--spawn-rate", "12", "Room"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def honest(_offset: int, frame: str) -> list[str]:
    return [frame]


def test_rooms_without_a_fault() -> None:
    code, told = locust(Rooms(honest))
    assert code == 0, told
    for name in ("join", "read", "publish", "come back", "at the end", "leave"):
        assert f" {name} " in told


def lost(offset: int, frame: str) -> list[str]:
    return [] if offset % 50 == 0 else [frame]


def doubled(offset: int, frame: str) -> list[str]:
    return [frame, frame] if offset % 50 == 0 else [frame]


@pytest.mark.parametrize(
    ("rooms", "complaint"),
    [
        (Rooms(lost), "did not come"),
        (Rooms(doubled), "came again"),
        (Rooms(honest, recovers=False), "not recovered from e:"),
    ],
)
def test_what_rooms_do_wrong_is_a_failure(rooms: Rooms, complaint: str) -> None:
    code, told = locust(rooms)
    assert code == 1, told
    assert complaint in told
