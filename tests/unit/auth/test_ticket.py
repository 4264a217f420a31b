"""Tickets: bound to a user, for seconds, and once."""

from __future__ import annotations

import asyncio
import json
import string
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request

from mpchat.auth.cookie import CookieAuth
from mpchat.auth.signing import decode, encode, sign
from mpchat.auth.ticket import TicketAuth, TicketHandler
from mpchat.components.identity import Identity
from mpchat.http.errors import HttpError
from mpchat.scoreboard.tickets import Claim
from tests.kit.host import FakeHost, under_construction
from tests.unit.auth.rig import Clock, Who, greeting, plan, serve
from tests.unit.auth.test_handshakes import auth, refused
from tests.unit.websocket.rig import Worker, on_uvloop

CONTEXT: Any = None
ADA = Identity("ada", frozenset({"staff"}), 2e9)


def checker(clock: Clock, host: Any = None, **options: Any) -> TicketAuth:
    components = under_construction("ticket", host=host or FakeHost(clock=clock))
    return TicketAuth(plan(TicketAuth, **options).options, components, 2)


async def check(found: TicketAuth, query: str) -> Identity | None:
    return await found.check(Request(f"/chat?{query}", Headers()), CONTEXT)


async def refusal(found: TicketAuth, query: str) -> tuple[int, str]:
    with pytest.raises(HttpError) as caught:
        await check(found, query)
    return caught.value.status, caught.value.text


@pytest.mark.covers("TicketAuth.lifetime")
async def test_a_ticket_is_for_one_user_once_and_soon() -> None:
    clock = Clock()
    found = checker(clock, lifetime="20s")
    first, second, third = (found.issue(ADA) for _ in range(3))
    assert await check(found, f"a=b&ticket={first}") == ADA
    assert await refusal(found, f"ticket={first}") == (401, "the ticket was used")
    clock.now += 20
    assert await check(found, f"ticket={second}") == ADA
    clock.now += 1
    assert await refusal(found, f"ticket={third}") == (401, "the ticket is over")
    # What would be valid for longer than any ticket is not.
    clock.now -= 60
    assert await refusal(found, f"ticket={third}") == (401, "the ticket is over")
    assert await check(found, "token=x") is None


async def test_what_is_no_ticket() -> None:
    found, stranger = checker(Clock()), checker(Clock())
    ticket = found.issue(ADA)
    # That of another service, a cookie's payload, none at all, two.
    for query in (
        f"ticket={stranger.issue(ADA)}",
        f"ticket={sign(found._used.key, 'cookie', b'[]')}",
        "ticket=",
        f"ticket={ticket}&ticket={ticket}",
        f"ticket={quote(ticket + '=')}",
    ):
        assert await refusal(found, query) == (401, "the ticket is not of this service")
    assert await check(found, f"ticket={ticket}") == ADA


@given(st.data())
def test_no_change_of_a_ticket_is_accepted(data: st.DataObject) -> None:
    found = checker(Clock())
    ticket = sign(found._used.key, "ticket", b'["ada",[],null,1764374410,"00"]')
    where = data.draw(st.integers(0, len(ticket) - 1))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_.="))
    forged = ticket[:where] + letter + ticket[where + 1 :]
    if forged != ticket:
        answer = asyncio.run(refusal(found, f"ticket={quote(forged)}"))
        assert answer == (401, "the ticket is not of this service")


def test_another_user_in_a_ticket() -> None:
    found = checker(Clock())
    payload, _, mac = found.issue(ADA).partition(".")
    content = decode(payload)
    assert content is not None
    forged = encode(content.replace(b"ada", b"eve"))
    answer = asyncio.run(refusal(found, f"ticket={forged}.{mac}"))
    assert answer == (401, "the ticket is not of this service")


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ([Claim.FULL], "too many tickets were used within seconds"),
        ([Claim.BUSY] * 3, "tickets cannot be checked: a worker that stands still keeps their"),
        ([Claim.BUSY, Claim.BUSY, Claim.CLAIMED], None),
    ],
)
async def test_a_full_or_locked_table_refuses(claims: list[Claim], text: str | None) -> None:
    key = FakeHost().used_tickets.key
    table: Any = SimpleNamespace(key=key, claim=lambda *_arguments: claims.pop(0))
    host = FakeHost(clock=Clock())
    host.used_tickets = table
    found = checker(Clock(), host)
    ticket = found.issue(ADA)
    if text is None:
        assert await check(found, f"ticket={ticket}") == ADA
    else:
        status, told = await refusal(found, f"ticket={ticket}")
        assert status == 503
        assert told.startswith(text)
    assert claims == []


@on_uvloop
async def test_a_login_a_ticket_and_a_connection(worker: Worker) -> None:
    plans = (
        plan(CookieAuth, key="k" * 32),
        plan(TicketAuth),
        plan(TicketHandler, auth=auth("signed-cookie")),
        plan(Who, path="/who", auth=auth("ticket")),
    )
    async with serve(worker, *plans) as site:
        cookie = site.components.find(CookieAuth).set_cookie("ada", ["staff"]).partition(";")[0]
        assert b" 401 " in await site.ask("POST /ticket HTTP/1.1", "Content-Length: 0")
        answer = await site.ask("POST /ticket HTTP/1.1", "Content-Length: 0", f"Cookie: {cookie}")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Cache-Control: no-store" in head
        content = json.loads(body)
        assert content["expires_in"] == 10
        async with site.connect(f"who?ticket={content['ticket']}") as client:
            assert (await greeting(client)).startswith("ada ['staff'] ")
        again = await refused(site, f"who?ticket={content['ticket']}")
        assert again.status_code == 401
