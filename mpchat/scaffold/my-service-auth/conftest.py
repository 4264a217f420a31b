"""The fixtures that start the service, and a user and a token for both kinds of tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mpchat import BearerAuth, CookieAuth
from mpchat.testing import Clock, Worker, serve

from chat import Chat
from login import Login, Logout, hash_password

pytest_plugins = ["mpchat.testsuite"]

KEY = "a key of thirty-two characters.."
LOGIN = {"user": "ada", "password": "a secret"}
HASHES = {LOGIN["user"]: hash_password(LOGIN["password"], b"salt", cost=4)}
TOKENS = {"robot": {"tokens": ["a-token"]}}


@dataclass
class Files:
    """The paths of users and tokens."""

    users: str
    tokens: str


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return files with one user and one token."""
    users, tokens = tmp_path / "users.json", tmp_path / "tokens.json"
    users.write_text(json.dumps(HASHES))
    tokens.write_text(json.dumps(TOKENS))
    return Files(str(users), str(tokens))


@pytest.fixture
def clock() -> Clock:
    """Return the time of the worker in memory."""
    return Clock()


@pytest.fixture
async def worker(files: Files, clock: Clock) -> AsyncIterator[Worker]:
    """Run the handlers in memory."""
    async with serve(
        {
            CookieAuth: {"key": KEY, "lifetime": "1h"},
            BearerAuth: {"tokens-path": files.tokens},
            Login: {"path": "/login", "users-path": files.users},
            Logout: {"path": "/logout", "method": "POST"},
            Chat: {"path": "/chat", "auth": {"types": ["signed-cookie", "bearer"]}},
        },
        clock=clock,
    ) as worker:
        yield worker


@pytest.fixture
async def cookie(worker: Worker) -> str:
    """Log in, and return the cookie."""
    answer = await worker.service_client.post("/login", json=LOGIN)
    assert answer.status == 200
    return answer.headers["set-cookie"].partition(";")[0]


@pytest.fixture
def service_env() -> dict[str, str]:
    """Return what the real service finds in its environment."""
    return {"COOKIE_KEY": KEY}


@pytest.fixture
def service_config_yaml(service_config_yaml: Any, files: Files) -> Any:
    """Return the config of the real service, with the files of the test."""
    components = service_config_yaml["components_manager"]["components"]
    components["handler-login"]["users-path"] = files.users
    components["bearer"]["tokens-path"] = files.tokens
    return service_config_yaml
