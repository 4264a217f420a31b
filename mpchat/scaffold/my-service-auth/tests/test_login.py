"""Login and logout, in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mpchat.testing import Worker

from login import is_password, store


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"user": "ada", "password": "a secret"}, 200),
        ({"user": "ada", "password": "another secret"}, 403),
        ({"user": "bob", "password": "a secret"}, 403),
        ({"user": "bob", "password": ""}, 403),
        ({"user": "ada"}, 400),
        (["ada"], 400),
    ],
)
async def test_the_password_decides(worker: Worker, body: object, status: int) -> None:
    answer = await worker.service_client.post("/login", json=body)
    assert answer.status == status
    assert ("set-cookie" in answer.headers) == (status == 200)


async def test_a_page_of_another_site_cannot_log_in(worker: Worker) -> None:
    form = '{"user": "ada", "password": "a secret"}'
    answer = await worker.service_client.request("POST", "/login", data=form)
    assert answer.status == 415


def test_the_command_stores_a_password(tmp_path: Path) -> None:
    users = tmp_path / "users.json"
    users.write_text('{"ada": "the old one", "bob": "another"}')
    store("ada", "a secret", users)
    hashes = json.loads(users.read_text())
    assert is_password("a secret", hashes["ada"])
    assert not is_password("the old one", hashes["ada"])
    assert hashes["bob"] == "another"


async def test_logout_deletes_the_cookie(worker: Worker, cookie: str) -> None:
    answer = await worker.service_client.post("/logout", headers={"Cookie": cookie})
    assert answer.status == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
