"""Bearer tokens: where they are found, whose they are, and what is said of wrong ones."""

from __future__ import annotations

import asyncio
import hashlib
import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request

from mpchat.auth.bearer import BearerAuth, find_token, read_tokens
from mpchat.auth.signing import encode
from mpchat.components.identity import Identity
from mpchat.errors import ConfigError
from mpchat.http.errors import HttpError
from mpchat.http.upgrade import TOKEN_OFFER
from tests.unit.auth.rig import build, plan

CONTEXT: Any = None
TOKEN = "s3cr.et-token~+/=="
CHALLENGE = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


def request(*fields: tuple[str, str]) -> Request:
    return Request("/chat", Headers(fields))


def offer(token: str) -> str:
    return TOKEN_OFFER + encode(token.encode())


@pytest.mark.parametrize(
    ("fields", "token"),
    [
        ([], None),
        ([("Authorization", f"Bearer {TOKEN}")], TOKEN),
        ([("authorization", f"bEARER  {TOKEN}")], TOKEN),
        ([("Authorization", "Basic YTpi")], None),
        ([("Sec-WebSocket-Protocol", f"chat, {offer(TOKEN)}")], TOKEN),
        ([("Sec-WebSocket-Protocol", "chat"), ("Sec-WebSocket-Protocol", offer(TOKEN))], TOKEN),
        ([("Sec-WebSocket-Protocol", "chat, base64url")], None),
    ],
)
def test_where_a_token_is(fields: list[tuple[str, str]], token: str | None) -> None:
    assert find_token(request(*fields)) == token


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([("Authorization", "Bearer")], 401),
        ([("Authorization", "Bearer a b")], 401),
        ([("Authorization", "Bearer a\xe4")], 401),
        ([("Sec-WebSocket-Protocol", TOKEN_OFFER)], 401),
        ([("Sec-WebSocket-Protocol", f"{offer(TOKEN)}=")], 401),
        ([("Sec-WebSocket-Protocol", TOKEN_OFFER + encode(b"\xff"))], 401),
        ([("Authorization", "Bearer a"), ("Authorization", "Bearer a")], 400),
        ([("Authorization", "Bearer a"), ("Sec-WebSocket-Protocol", offer("a"))], 400),
        ([("Sec-WebSocket-Protocol", f"{offer('a')}, {offer('b')}")], 400),
    ],
)
def test_tokens_that_are_none(fields: list[tuple[str, str]], status: int) -> None:
    with pytest.raises(HttpError) as caught:
        find_token(request(*fields))
    assert caught.value.status == status


def tokens_file(folder: Path, **users: Any) -> Path:
    path = folder / "tokens.json"
    path.write_text(json.dumps(users))
    return path


@pytest.mark.covers("BearerAuth.tokens-path")
async def test_a_file_of_tokens_is_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hashed = hashlib.sha256(b"b0b").hexdigest()
    path = tokens_file(
        tmp_path,
        ada={"tokens": [TOKEN], "tags": ["staff"], "expires": 2e9},
        bob={"tokens": [f"sha256:{hashed}"]},
    )
    components = build(plan(BearerAuth, tokens_path=str(path)))
    await components.start()
    checker = components.find(BearerAuth)

    async def check(token: str) -> Identity | None:
        return await checker.check(request(("Authorization", f"Bearer {token}")), CONTEXT)

    assert await check(TOKEN) == Identity("ada", frozenset({"staff"}), 2e9)
    assert await check("b0b") == Identity("bob")
    # The hash of a token is no token.
    for unknown in (hashed, "ada", TOKEN[:-1]):
        with pytest.raises(HttpError) as caught:
            await check(unknown)
        assert (caught.value.status, caught.value.headers) == (401, CHALLENGE)
    path.write_text("{")
    components.config_updated()
    assert "the tokens stay as they were" in caplog.text
    assert await check("b0b") == Identity("bob")
    tokens_file(tmp_path, bob={"tokens": ["n3w"]})
    components.config_updated()
    assert await check("n3w") == Identity("bob")
    with pytest.raises(HttpError):
        await check("b0b")
    assert await checker.check(request(), CONTEXT) is None


@given(st.text(string.ascii_letters + string.digits + string.punctuation + " ", min_size=1))
def test_no_guess_is_accepted(guess: str) -> None:
    checker = build(plan(BearerAuth)).find(BearerAuth)
    with pytest.raises(HttpError) as caught:
        asyncio.run(checker.check(request(("Authorization", f"Bearer {guess}")), CONTEXT))
    assert caught.value.status == 401
    assert caught.value.text in {"the token is unknown", "the token is malformed"}


@pytest.mark.parametrize(
    ("users", "text"),
    [
        ({"ada": {}}, "ada.tokens: required, but missing"),
        ({"ada": {"tokens": TOKEN}}, "ada.tokens: expected a list of tokens"),
        ({"ada": {"tokens": []}}, "ada.tokens: expected a list of tokens"),
        ({"ada": {"tokens": [f"{TOKEN} "]}}, "ada.tokens: expected tokens of letters"),
        ({"ada": {"tokens": [1]}}, "ada.tokens: expected tokens of letters"),
        ({"ada": {"tokens": ["a"]}, "bob": {"tokens": ["a"]}}, "bob.tokens: a token is listed twi"),
        ({"ada": {"tokens": ["a"], "tag": 1}}, "ada.tag: unknown option; did you mean 'tags'?"),
        ({"ada": {"tokens": ["a"], "expires": "soon"}}, "ada.expires: expected a number"),
    ],
)
def test_mistakes_have_places_and_repeat_no_token(
    tmp_path: Path, users: dict[str, Any], text: str
) -> None:
    path = tokens_file(tmp_path, **users)
    with pytest.raises(ConfigError) as caught:
        read_tokens(str(path))
    assert f"{path}:1:" in str(caught.value)
    assert text in str(caught.value)
    assert TOKEN not in str(caught.value)
