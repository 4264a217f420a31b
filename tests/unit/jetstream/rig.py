"""A connection to a server of a test, with what it has told, and an administrator beside it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, ParamSpec, TypeVar

import nats
import nats.errors
import uvloop
from nats.aio.client import Client

from mpchat.jetstream.api import Api, Info
from mpchat.jetstream.configuration import prepare
from mpchat.jetstream.connection import Connection
from mpchat.jetstream.errors import Unavailable
from mpchat.jetstream.messages import Live, live_of
from mpchat.jetstream.options import JetStreamOptions
from tests.kit.nats import ADMIN, ADMIN_PASSWORD, PASSWORD, USER, NatsServer
from tests.kit.waiting import eventually

P = ParamSpec("P")
T = TypeVar("T")
LOGIN = {"user": USER, "password": PASSWORD}
LIMIT = 20.0
"""Seconds for a connection on a busy machine."""


def on_uvloop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on the loop that the broker has: its errors are others than asyncio's."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        uvloop.run(test(*args, **kwargs))

    return run


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer: on a busy machine three servers change their leader at any moment."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await ask()
            except Unavailable:
                await asyncio.sleep(0.05)


def options(*servers: str, **changes: Any) -> JetStreamOptions:
    """Return options with dashes for underscores; connecting may take as long as a busy machine needs."""
    given = {"servers": [*servers], "connect_timeout": "10s", **changes}
    found = {name.replace("_", "-"): value for name, value in given.items()}
    # As from a config, whose secrets are strings.
    return JetStreamOptions.model_validate_json(json.dumps(found))


class Rig:
    """A connection and its stream.

    Attributes:
        ups: How often it was up.
        losses: Why it was lost.
        errors: What it has told an operator, each with its subject.
        when_up: Called each time that it is up.
    """

    def __init__(self, chosen: JetStreamOptions, **details: Any) -> None:
        self.ups = 0
        self.losses: list[str] = []
        self.errors: list[tuple[str, str | None]] = []
        self.when_up: Callable[[], object] = lambda: None
        self.options = chosen
        self.subjects = chosen.subjects
        self.connection = Connection(
            chosen,
            on_up=self._up,
            on_lost=self.losses.append,
            on_error=lambda text, subject: self.errors.append((text, subject)),
            # Quick, and without chance.
            pause=lambda number: 0.02,
            **details,
        )
        self.api = Api(self.connection, self.subjects)

    def _up(self) -> None:
        self.ups += 1
        self.when_up()

    async def prepare(self) -> Info:
        """Have the stream."""
        return await prepare(self.api, self.options)

    async def listen(self, token: str) -> list[Live]:
        """Return a list to which a room's live messages are added."""
        found: list[Live] = []
        await self.connection.subscribe(
            self.subjects.live(token), lambda message: found.append(live_of(message))
        )
        await answered(self.api.barrier)
        return found

    async def say(self, token: str, *texts: str) -> list[int]:
        """Publish messages with their texts as ids; return their sequences."""
        return [
            (await self.api.publish(token, text.encode(), id=f"{token}-{text}", timeout=LIMIT)).seq
            for text in texts
        ]

    async def until_up(self, times: int) -> None:
        """Wait until the connection was up this many times."""
        await eventually(lambda: self.ups >= times, f"connection, {times} times up")


@contextlib.asynccontextmanager
async def connected(chosen: JetStreamOptions, **details: Any) -> AsyncIterator[Rig]:
    """Connect, and disconnect at the end."""
    rig = Rig(chosen, **details)
    try:
        await rig.connection.connect(LIMIT)
        yield rig
    finally:
        await rig.connection.close()


@contextlib.asynccontextmanager
async def joined(url: str, **changes: Any) -> AsyncIterator[Rig]:
    """Connect as a host, and have the stream."""
    async with connected(options(url, **LOGIN, **changes)) as rig:
        await rig.prepare()
        yield rig


class Admin:
    """Somebody at NATS who may do everything."""

    def __init__(self, client: Client, server: NatsServer) -> None:
        self.client = client
        self._server = server

    async def ask(self, request: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer to a request of JetStream's API; it may be an error."""
        payload = json.dumps(body).encode() if body is not None else b""
        answer = await self.client.request(f"$JS.API.{request}", payload, timeout=LIMIT)
        found: dict[str, Any] = json.loads(answer.data)
        return found

    async def do(self, request: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The same, and it is no error."""
        found = await self.ask(request, body)
        assert "error" not in found, found
        return found

    async def delete_all(self) -> None:
        """Delete all streams, and wait until they are gone: the server answers before that."""
        async with asyncio.timeout(60):
            # Servers that were killed may still be choosing a leader, and not answer.
            while (names := await self._names()) != []:
                for name in names or []:
                    with contextlib.suppress(nats.errors.Error):
                        await self.client.request(f"$JS.API.STREAM.DELETE.{name}", timeout=2)
        await eventually(lambda: not self._server.streams(), "end of the streams")

    async def _names(self) -> list[str] | None:
        try:
            answer = await self.client.request("$JS.API.STREAM.NAMES", timeout=2)
        except nats.errors.Error:
            await asyncio.sleep(0.1)
            return None
        found = json.loads(answer.data)
        return None if "error" in found else found.get("streams") or []


@contextlib.asynccontextmanager
async def administrator(server: NatsServer) -> AsyncIterator[Admin]:
    """Connect as an administrator."""
    client = await nats.connect(server.url, user=ADMIN, password=ADMIN_PASSWORD)
    try:
        yield Admin(client, server)
    finally:
        await client.close()
