"""Checkers in a worker's server: who gets in, who is told why not, and for how long."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.http11 import Request, Response

from mpchat.auth.bearer import BearerAuth
from mpchat.auth.cookie import CookieAuth
from mpchat.auth.signing import encode
from mpchat.components.component import Components
from mpchat.components.context import Context
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.components.identity import Identity
from mpchat.http.request import HttpRequest
from mpchat.http.responses import response
from mpchat.http.upgrade import TOKEN_OFFER
from mpchat.websocket.thresholds import Thresholds
from tests.unit.auth.rig import Clock, Site, Who, greeting, plan, serve
from tests.unit.websocket.rig import Worker, on_uvloop

KEY = "k" * 32
ALONE = b"offer a subprotocol that this path has beside the token: a browser refuses an answer"
AUTHORIZED = {"Authorization": "Bearer ada"}


class Tokens(BearerAuth):
    """Everybody's token is the name; that of ``old`` has expired."""

    async def find(self, token: str) -> Identity | None:
        if token == "nobody":
            return None
        return Identity(token, frozenset({"tester"}), 1.0 if token == "old" else None)


class Guarded(Who):
    """Asks the checker by itself."""

    name = "guarded"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self.tokens = components.find(BearerAuth)

    async def handle_handshake(self, request: Request, context: Context) -> Response | None:
        context.identity = await self.tokens.check(request, context)
        return None if context.identity is not None else response(403, "only by token\n")


class Page(HttpHandlerBase):
    """A page for people who are known."""

    name = "page"

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        return response(200, f"hello {context.user}\n")


def auth(*names: str) -> dict[str, Any]:
    return {"types": list(names)}


async def refused(site: Site, path: str = "who", **options: Any) -> Response:
    with pytest.raises(InvalidStatus) as caught:
        await site.connect(path, **options).__aenter__()
    return caught.value.response


def message(answer: Response) -> str:
    return str(json.loads(answer.body or b"")["message"])


@pytest.mark.covers("HandlerBase.auth", "AuthOptions.types")
@on_uvloop
async def test_a_handler_names_its_checkers(worker: Worker) -> None:
    plans = (
        plan(Tokens),
        plan(CookieAuth, key=KEY),
        plan(Who, path="/who", auth=auth("bearer", "signed-cookie")),
        plan(Page, path="/page", auth=dict(types=["signed-cookie"])),
        plan(Guarded, path="/guarded"),
    )
    async with serve(worker, *plans) as site:
        answer = await refused(site)
        assert (answer.status_code, message(answer)) == (401, "credentials are needed")
        assert answer.headers["WWW-Authenticate"] == "Bearer, Cookie"
        for token, text in {
            "nobody": "the token is unknown",
            "old": "the credentials have expired",
            "a b": "the token is malformed",
        }.items():
            answer = await refused(site, additional_headers={"Authorization": f"Bearer {token}"})
            assert (answer.status_code, message(answer)) == (401, text)
        async with site.connect(additional_headers=AUTHORIZED) as client:
            assert await greeting(client) == "ada ['tester'] None"
        cookie = site.components.find(CookieAuth).set_cookie("bob").partition(";")[0]
        async with site.connect(additional_headers={"Cookie": cookie}) as client:
            assert (await greeting(client)).startswith("bob [] ")
        assert b" 401 " in await site.ask("GET /page HTTP/1.1", "Authorization: Bearer ada")
        assert b"hello bob" in await site.ask("GET /page HTTP/1.1", f"Cookie: {cookie}")
        # By hand
        assert (await refused(site, "guarded")).status_code == 403
        broken = await refused(site, "guarded", additional_headers={"Authorization": "Bearer"})
        assert (broken.status_code, broken.headers["WWW-Authenticate"]) == (
            401,
            'Bearer error="invalid_token"',
        )
        late = await refused(site, "guarded", additional_headers={"Authorization": "Bearer old"})
        assert late.status_code == 401
        async with site.connect("guarded", additional_headers=AUTHORIZED) as client:
            assert await greeting(client) == "ada ['tester'] None"
        assert site.board.total("admitted") == len(site.server.registry.connections)


@on_uvloop
async def test_a_token_as_a_subprotocol_is_not_echoed(worker: Worker) -> None:
    token = TOKEN_OFFER + encode(b"ada")
    plans = (
        plan(Tokens),
        plan(Who, path="/who", auth=auth("bearer"), subprotocols=["chat.v1"]),
        plan(Who, "plain", path="/plain", auth=auth("bearer")),
    )
    async with serve(worker, *plans) as site:
        for offers in ([token, "chat.v1"], ["chat.v0", "chat.v1", token]):
            async with site.connect(subprotocols=offers) as client:
                assert client.subprotocol == "chat.v1"
                assert client.response is not None
                assert token not in str(client.response.headers)
                assert await greeting(client) == "ada ['tester'] None"
        # A browser would refuse an answer that selects none, and not say why.
        for path, offers in (
            ("who", [token]),
            ("who", [token, "chat.v0"]),
            ("plain", [token]),
            ("plain", [token, "chat.v1"]),
        ):
            answer = await refused(site, path, subprotocols=offers)
            assert answer.status_code == 400
            assert ALONE in (answer.body or b"")
            assert token.encode() not in (answer.body or b"")


@on_uvloop
async def test_a_connection_ends_with_its_identity_unless_it_is_renewed(worker: Worker) -> None:
    worker.go_by(Thresholds(expiry_look_seconds=0.05))
    clock = Clock()

    class Short(BearerAuth):
        async def find(self, token: str) -> Identity | None:
            return Identity(token, expires=clock.now + 100)

    plans = (plan(Short), plan(Who, path="/who", auth=auth("bearer")))
    async with (
        serve(worker, *plans, clock=clock) as site,
        site.connect(additional_headers=AUTHORIZED) as left,
        site.connect(additional_headers=AUTHORIZED) as renewed,
    ):
        await greeting(left)
        await greeting(renewed)
        await renewed.send(str(clock.now + 1000))
        assert await renewed.recv() == "renewed"
        clock.now += 101
        with pytest.raises(ConnectionClosedError) as caught:
            await asyncio.wait_for(left.recv(), 10)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (
            4401,
            "the credentials have expired",
        )
        await renewed.send(str(clock.now - 1))
        with pytest.raises(ConnectionClosedError) as caught:
            while True:
                await asyncio.wait_for(renewed.recv(), 10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4401
    assert worker.limits["expires"] == 2


@on_uvloop
async def test_an_identity_that_comes_with_a_message_expires_too(worker: Worker) -> None:
    clock = Clock()

    class Late(Who):
        async def handle(self, chat: Any, context: Context) -> None:
            context.identity = Identity(await chat.recv(), expires=clock.now - 1)
            await chat.recv()

    plans = (plan(Late, path="/who"),)
    async with serve(worker, *plans, clock=clock) as site, site.connect() as client:
        await client.send("ada")
        with pytest.raises(ConnectionClosedError) as caught:
            await asyncio.wait_for(client.recv(), 10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4401


def test_nobodys_identity_cannot_expire() -> None:
    context = Context("1", asyncio.Event(), lambda: None, None)  # type: ignore[arg-type,return-value]
    assert (context.user, context.tags, context.expires) == (None, frozenset(), None)
    with pytest.raises(RuntimeError, match=r"set context\.identity first"):
        context.expires = 1.0
