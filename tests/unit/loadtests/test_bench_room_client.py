"""The load client counts what a room's members get: rooms here lose, double and mix up messages."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from contextlib import suppress

import pytest
from bench.load import Load, LoadFailed, compile_client
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.kit.serving import serving

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None and "CI" not in os.environ, reason="the client is written in C"
)

Deliver = Callable[[int, int, str], list[str]]
"""What the member of that number is sent instead of the message of that number."""

BAD, WORSE = 7, 8
"""The numbers of a message that rooms treat badly, and of the one behind it."""


def honest(_member: int, _number: int, message: str) -> list[str]:
    return [message]


class Room:
    """Sends each message to all members, as ``deliver`` says."""

    def __init__(self, deliver: Deliver, *, socketio: bool = False, late: int = 0) -> None:
        self.paths: list[str] = []
        self.pongs = self.published = 0
        self._deliver = deliver
        self._socketio = socketio
        self._late = late
        """Messages that a member other than the first one misses, since it joins behind them"""
        self._enough = asyncio.Event()
        if not late:
            self._enough.set()
        self._members: list[ServerConnection] = []

    async def serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        with suppress(ConnectionClosed):
            if self._socketio:
                await self._greet(connection)
            if self._members:
                await self._enough.wait()
            self._members.append(connection)
            async for message in connection:
                assert isinstance(message, str)
                if message == "3":
                    self.pongs += 1
                    continue
                number = self.published
                self.published += 1
                if self.published >= self._late:
                    self._enough.set()
                for place, member in enumerate(self._members):
                    for part in self._deliver(place, number, message):
                        await member.send(part)
        if connection in self._members:
            self._members.remove(connection)

    async def _greet(self, connection: ServerConnection) -> None:
        await connection.send(
            '0{"sid":"one","upgrades":[],"pingTimeout":20000,"pingInterval":25000}'
        )
        assert await connection.recv() == "40"
        await connection.send('40{"sid":"two"}')
        await connection.send("2")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = tmp_path_factory.mktemp("client") / "client"
    compile_client(program)
    return str(program)


def load(client: str, port: int, *arguments: str) -> Load:
    core = min(os.sched_getaffinity(0))
    return Load("a test's room", [client, "--text", *arguments, str(port)], core)


def run(client: str, port: int, *arguments: str) -> int:
    with load(client, port, *arguments) as members:
        members.wait_connected()
        return members.run(0.05).done + members.run(0.05).done


@pytest.mark.parametrize("in_flight", ["1", "5"])
@pytest.mark.parametrize("members", ["1", "7"])
def test_all_members_get_every_message(client: str, members: str, in_flight: str) -> None:
    delivered = 0

    def count(_member: int, _number: int, message: str) -> list[str]:
        nonlocal delivered
        delivered += 1
        return [message]

    room = Room(count)
    with serving(room.serve) as port:
        words = ["--room", "--path", "/rooms/a", "--connections", members, "--in-flight", in_flight]
        done = run(client, port, *words)
    assert 0 < done < room.published
    assert room.published * int(members) == delivered
    assert set(room.paths) == {"/rooms/a"}


def test_members_that_join_late_are_waited_for(client: str) -> None:
    room = Room(honest, late=3)
    with serving(room.serve) as port:
        done = run(client, port, "--room", "--connections", "3")
    assert 0 < done <= room.published - 3


def lost(member: int, number: int, message: str) -> list[str]:
    return [] if (member, number) == (2, BAD) else [message]


def doubled(member: int, number: int, message: str) -> list[str]:
    return [message, message] if (member, number) == (2, BAD) else [message]


class Swapped:
    """One member gets a message behind the one that follows it."""

    def __init__(self) -> None:
        self._kept: list[str] = []

    def __call__(self, member: int, number: int, message: str) -> list[str]:
        if member != 2 or number not in {BAD, WORSE}:
            return [message]
        if number == BAD:
            self._kept.append(message)
            return []
        return [message, *self._kept]


def foreign(member: int, number: int, message: str) -> list[str]:
    return ["x" * len(message)] if (member, number) == (2, BAD) else [message]


@pytest.mark.parametrize("deliver", [lost, doubled, Swapped(), foreign])
def test_a_member_that_gets_something_else_is_found(
    client: str, deliver: Deliver, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(Room(deliver).serve) as port, pytest.raises(LoadFailed):
        run(client, port, "--room", "--connections", "4", "--in-flight", "4")
    assert "an answer " in capfd.readouterr().err


def test_a_message_that_is_doubled_when_nothing_is_published_is_found(
    client: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def twice(member: int, _number: int, message: str) -> list[str]:
        return [message, message] if member == 2 else [message]

    with serving(Room(twice).serve) as port, pytest.raises(LoadFailed):
        run(client, port, "--room", "--connections", "3")
    assert "an answer " in capfd.readouterr().err


def test_the_publisher_connects_apart_and_again(client: str) -> None:
    room = Room(honest)
    with (
        serving(room.serve) as port,
        load(client, port, "--apart", "--connections", "3") as members,
    ):
        members.wait_connected()
        for _ in range(2):
            members.connect_publisher()
        assert members.run(0.05).done > 0
    assert len(room.paths) == 3 + 2


def test_who_publishes_connects_no_more(client: str, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(Room(honest).serve) as port, pytest.raises(LoadFailed):  # noqa: SIM117 - what fails
        with load(client, port, "--apart", "--connections", "2") as members:
            members.wait_connected()
            members.connect_publisher()
            members.run(0.05)
            members.connect_publisher()
    assert "the publisher has published" in capfd.readouterr().err


@pytest.mark.parametrize("members", ["1", "3"])
def test_events_of_socketio(client: str, members: str) -> None:
    messages: set[str] = set()

    def note(_member: int, _number: int, message: str) -> list[str]:
        messages.add(message)
        return [message]

    room = Room(note, socketio=True)
    with serving(room.serve) as port:
        assert (
            run(client, port, "--room", "--socketio", "--size", "8", "--connections", members) > 0
        )
    assert all(message.startswith('42["message","') for message in messages)
    assert all(message.endswith('"]') and len(message) == 8 + 16 for message in messages)
    assert room.pongs == int(members)


def test_a_packet_of_socketio_that_is_not_known_is_found(
    client: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(Room(lambda *_: ["4"], socketio=True).serve) as port, pytest.raises(LoadFailed):
        run(client, port, "--room", "--socketio")
    assert "a packet of Socket.IO: 4" in capfd.readouterr().err
