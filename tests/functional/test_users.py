"""Users and their connections, over all workers of a service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.service import Service
from tests.functional.conftest import Serve
from tests.kit.control import Control
from tests.kit.verbs import Mpchat
from tests.kit.waiting import eventually

pytestmark = pytest.mark.shared_service

APP = '''
import json

from mpchat import (
    BearerAuth,
    Connections,
    Identity,
    TicketAuth,
    TicketHandler,
    WebsocketHandlerBase,
    minimal_server_component_list,
)


class Names(BearerAuth):
    """The token of all who are not in the file is the name, with a tag behind a dot."""

    async def find(self, token):
        if (known := await super().find(token)) is not None:
            return known
        user, _, tag = token.partition(".")
        return Identity(user, frozenset(filter(None, [tag])))


class Members(WebsocketHandlerBase):
    name = "members"

    def __init__(self, options, components):
        super().__init__(options, components)
        self.connections = components.find(Connections)

    async def handle(self, chat, context):
        async for message in chat:
            action, arguments = json.loads(message)
            done = await getattr(self.connections, action)(**arguments)
            await chat.send(json.dumps(done))


class Guests(WebsocketHandlerBase):
    name = "guests"

    async def handle(self, chat, context):
        await chat.send(f"{context.user} {sorted(context.tags)}")
        await chat.recv()


def components():
    found = minimal_server_component_list()
    for cls in (Names, Members, Guests, TicketAuth, TicketHandler):
        found.append(cls)
    return found
'''
OPTIONS: dict[str, Any] = {
    "websocket-handler": None,
    "handler-ping": None,
    "bearer": {"tokens-path": "tokens.json"},
    "members": {
        "path": "/members",
        "auth": {"types": ["bearer"]},
        "max_connections_per_user": 12,
    },
    "ticket": {"lifetime": "30s"},
    "handler-ticket": {"auth": {"types": ["bearer"]}},
    "guests": {"path": "/guests", "auth": {"types": ["ticket"]}},
}


@pytest.fixture
def service(serve: Serve, service_tmpdir: Path) -> Any:
    (service_tmpdir / "users.py").write_text(APP)
    (service_tmpdir / "tokens.json").write_text("{}")
    with serve(OPTIONS, "--app", "users:components") as service:
        yield service


@pytest.fixture
def verb(mpchat: Mpchat, control: Control) -> Callable[..., subprocess.CompletedProcess[str]]:
    return lambda name, *arguments: mpchat(name, "--socket", str(control.path), *arguments)


@asynccontextmanager
async def connected(service: Service, *tokens: str) -> AsyncIterator[list[ClientConnection]]:
    """Connect once for each token."""
    client = WebsocketClient(service.port)
    async with AsyncExitStack() as stack:
        headers = [{"Authorization": f"Bearer {token}"} for token in tokens]
        yield [
            await stack.enter_async_context(client.get("members", additional_headers=found))
            for found in headers
        ]


async def close_of(chat: ClientConnection) -> tuple[int, str]:
    """Wait for the service's Close."""
    with pytest.raises(ConnectionClosed) as caught:
        await asyncio.wait_for(chat.recv(), 30)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def users(control: Control) -> list[str]:
    return sorted(str(row["user"]) for row in control.connections())


async def test_a_user_is_kicked_out_of_every_worker(
    service: Service, control: Control, verb: Any
) -> None:
    async with connected(service, *["ada"] * 12, *["bob.staff"] * 4) as chats:
        # Balance has spread them.
        pids = {row["id"].partition("-")[0] for row in control.connections()}
        assert len(pids) > 1
        result = await asyncio.to_thread(verb, "connections", "--user", "bob", "--json")
        rows = json.loads(result.stdout)["connections"]
        assert [(row["user"], row["tags"]) for row in rows] == [("bob", ["staff"])] * 4
        result = await asyncio.to_thread(verb, "kick", "--user", "ada", "--reason", "bye")
        assert (result.returncode, result.stdout) == (0, "closed 12 connections\n")
        assert [await close_of(chat) for chat in chats[:12]] == [(4401, "bye")] * 12
        await eventually(lambda: users(control) == ["bob"] * 4, "end of all connections of ada")
        result = await asyncio.to_thread(verb, "kick", "--user", "bob", "--code", "4000", "--json")
        assert len(json.loads(result.stdout)["connections"]) == 4
        assert [await close_of(chat) for chat in chats[12:]] == [(4000, "")] * 4
        result = await asyncio.to_thread(verb, "kick", "--user", "eve")
        assert result.stdout == "closed 0 connections\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--user", "ada", "--code", "1006"], "expected a code that a Close may have"),
        (["--user", "ada", "--reason", "é" * 62], "expected a reason of at most 123 bytes"),
    ],
)
def test_a_close_that_cannot_be_sent_is_refused(
    service: Service, verb: Any, arguments: list[str], text: str
) -> None:
    result = verb("kick", *arguments)
    assert result.returncode == 1
    assert text in result.stderr


@pytest.mark.parametrize("request_", [{}, {"user": 1}, {"user": "a", "code": True}])
def test_a_kick_needs_a_name(service: Service, control: Control, request_: Any) -> None:
    with pytest.raises(Exception, match=r"kick (needs|takes)"):
        control.ask("kick", **request_)


async def test_a_component_closes_connections_of_all_workers(
    service: Service, control: Control
) -> None:
    async with connected(service, "eve", *["ada.staff"] * 6, *["bob"] * 6) as (chat, *others):

        async def ask(action: str, **arguments: object) -> Any:
            await chat.send(json.dumps([action, arguments]))
            return json.loads(await asyncio.wait_for(chat.recv(), 30))

        assert len(await ask("find")) == 13
        assert {row["user"] for row in await ask("find", tag="staff")} == {"ada"}
        assert await ask("close", user="bob", tag="staff") == 0
        assert await ask("close", tag="staff", code=4001, reason="out") == 6
        assert [await close_of(other) for other in others[:6]] == [(4001, "out")] * 6
        assert await ask("close", user="bob") == 6
        assert [await close_of(other) for other in others[6:]] == [(4401, "")] * 6
        await eventually(lambda: users(control) == ["eve"], "end of the others")


async def test_a_worker_that_stands_still_is_named(
    service: Service, control: Control, verb: Any
) -> None:
    frozen = service.pids("worker")[0]
    service.freeze(frozen)
    try:
        result = await asyncio.to_thread(verb, "kick", "--user", "ada")
        assert f"worker pid {frozen} did not answer" in result.stderr
    finally:
        service.thaw(frozen)
    os.kill(frozen, 0)


async def test_a_user_has_a_limit_over_all_workers(service: Service, control: Control) -> None:
    refused = control.limits().get("max_connections_per_user", 0)
    async with connected(service, *["ada"] * 12, "bob"):
        with pytest.raises(InvalidStatus) as caught:
            await connected(service, "ada").__aenter__()
        assert caught.value.response.status_code == 503
        assert control.limits()["max_connections_per_user"] == refused + 1
    await eventually(lambda: users(control) == [], "end of all connections")
    # A worker that is killed takes its users' counts along.
    async with connected(service, *["ada"] * 12):
        victim = int(control.connections()[0]["id"].partition("-")[0], 16)
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: victim not in control.ready(), "end of the worker")
        await eventually(lambda: len(control.ready()) == 4, "its successor")
        async with connected(service, "ada"):
            pass


async def ticket_of(service: Service, user: str) -> str:
    headers = {"Authorization": f"Bearer {user}"}
    answer = await ServiceClient(service.port).post("ticket", headers=headers)
    assert answer.status == 200
    return str(answer.json()["ticket"])


async def test_a_ticket_is_accepted_once_by_all_workers_together(
    service: Service, control: Control
) -> None:
    client = WebsocketClient(service.port)

    async def use(ticket: str) -> str:
        try:
            async with client.get(f"guests?ticket={ticket}") as chat:
                return str(await asyncio.wait_for(chat.recv(), 30))
        except InvalidStatus as error:
            assert error.response.status_code == 401
            return ""

    for token, greeting in {"ada.staff": "ada ['staff']", "bob": "bob []"}.items():
        ticket = await ticket_of(service, token)
        greetings = await asyncio.gather(*(use(ticket) for _ in range(24)))
        assert [found for found in greetings if found] == [greeting]
    # The key and what was used outlive all workers.
    kept, used = await ticket_of(service, "ada"), ticket
    await asyncio.to_thread(control.restart)
    assert await use(used) == ""
    assert await use(kept) == "ada []"
    assert ticket not in service.stderr()


async def test_a_reload_checks_and_takes_files_of_components(
    service: Service, service_tmpdir: Path, verb: Any, control: Control
) -> None:
    number = control.status()["generation"]
    tokens = service_tmpdir / "tokens.json"
    tokens.write_text('{"ada": {"tokens": "secret"}}')
    result = await asyncio.to_thread(verb, "reload")
    assert result.returncode == 1
    assert "tokens.json:1:20: ada.tokens: expected a list of tokens" in result.stderr
    assert control.status()["generation"] == number
    tokens.write_text('{"ada": {"tokens": ["n3w"]}}')
    assert (await asyncio.to_thread(verb, "reload")).returncode == 0
    async with connected(service, *["n3w"] * 8):
        assert users(control) == ["ada"] * 8
