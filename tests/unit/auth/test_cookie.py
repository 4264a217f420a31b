"""The signed cookie: made at a login, and nowhere else."""

from __future__ import annotations

import asyncio
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request

from mpchat.auth.cookie import CookieAuth
from mpchat.components.identity import Identity
from mpchat.http.errors import HttpError
from tests.kit.host import FakeHost, under_construction
from tests.unit.auth.rig import Clock, Plan, plan

CONTEXT: Any = None
KEY, NEXT = "k" * 32, "n" * 32


def checker(found: Plan, clock: Clock | None = None) -> CookieAuth:
    host = FakeHost(clock or Clock())
    return CookieAuth(found.options, under_construction(found.name, host=host))


async def check(found: CookieAuth, *fields: tuple[str, str]) -> Identity | None:
    return await found.check(Request("/chat", Headers(fields)), CONTEXT)


def value_of(set_cookie: str) -> str:
    return set_cookie.partition(";")[0]


@pytest.mark.covers("CookieAuth.key", "CookieAuth.cookie", "CookieAuth.lifetime")
async def test_a_login_and_its_cookie() -> None:
    clock = Clock()
    found = checker(plan(CookieAuth, key=KEY, cookie="login", lifetime="1h"), clock)
    made = found.set_cookie("ada", ["staff"])
    assert made.startswith("login=")
    assert made.endswith("; Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Lax")
    ada = Identity("ada", frozenset({"staff"}), clock.now + 3600)
    assert await check(found, ("Cookie", f"a=b; {value_of(made)}; c")) == ada
    assert await check(found, ("Cookie", "a=b")) is None
    assert await check(found) is None
    assert found.clear_cookie().startswith("login=; Max-Age=0; ")


@pytest.mark.covers("CookieAuth.previous-keys")
async def test_another_key_keeps_the_cookies_of_the_one_before() -> None:
    made = value_of(checker(plan(CookieAuth, key=KEY)).set_cookie("ada"))
    rotated = checker(plan(CookieAuth, key=NEXT, previous_keys=[KEY]))
    identity = await check(rotated, ("Cookie", made))
    assert identity is not None
    with pytest.raises(HttpError):
        await check(checker(plan(CookieAuth, key=NEXT)), ("Cookie", made))


@given(st.data())
def test_no_change_of_a_cookie_is_accepted(data: st.DataObject) -> None:
    # The same cookie each time.
    found = checker(plan(CookieAuth, key=KEY), Clock())
    name, _, value = value_of(found.set_cookie("ada")).partition("=")
    where = data.draw(st.integers(0, len(value) - 1))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_.="))
    forged = value[:where] + letter + value[where + 1 :]
    if forged != value:
        with pytest.raises(HttpError) as caught:
            asyncio.run(check(found, ("Cookie", f"{name}={forged}")))
        assert caught.value.status == 401


@pytest.mark.parametrize("more", ["", "x"])
async def test_two_cookies_of_one_name_are_none(more: str) -> None:
    found = checker(plan(CookieAuth, key=KEY))
    made = value_of(found.set_cookie("ada"))
    with pytest.raises(HttpError) as caught:
        await check(found, ("Cookie", f"{made}; {made}{more}"))
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("fields", "is_accepted"),
    [
        ([], True),
        ([("Origin", "https://a.example")], True),
        ([("Origin", "https://A.example")], True),
        ([("Origin", "https://b.example")], False),
        ([("Origin", "null")], False),
        ([("Origin", "https://a.example:8443")], False),
        # The origin of a handshake has been checked, and may be any that is allowed.
        ([("Origin", "https://b.example"), ("Upgrade", "websocket")], True),
    ],
)
async def test_pages_of_other_hosts_use_no_cookie(
    fields: list[tuple[str, str]], is_accepted: bool
) -> None:
    found = checker(plan(CookieAuth, key=KEY))
    made = ("Cookie", value_of(found.set_cookie("ada")))
    if is_accepted:
        assert await check(found, made, ("Host", "a.example"), *fields) is not None
    else:
        with pytest.raises(HttpError) as caught:
            await check(found, made, ("Host", "a.example"), *fields)
        assert caught.value.status == 403
