"""``POST /login``, ``POST /logout``, and the passwords.

``python login.py USER`` asks for a password, and stores its hash in users.json. The service reads
that file at its start and at each ``mpchat reload``.
"""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import hmac
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

from mpchat import (
    Components,
    ConfigPath,
    Context,
    CookieAuth,
    HttpError,
    HttpHandlerBase,
    HttpHandlerJsonBase,
    HttpRequest,
    Response,
    response,
)
from pydantic import BaseModel, Field

USERS = Path(__file__).parent / "users.json"


COST = 14
"""A hash of scrypt takes 2**14 KiB of memory, and a twentieth of a second."""


def hash_password(password: str, salt: bytes, cost: int = COST) -> str:
    """Return what is stored of a password: cost, salt and hash."""
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2**cost, r=8, p=1)
    return f"{cost}:{salt.hex()}:{digest.hex()}"


def is_password(password: str, stored: str) -> bool:
    """Return whether this password was stored."""
    cost, salt, _digest = stored.split(":")
    return hmac.compare_digest(hash_password(password, bytes.fromhex(salt), int(cost)), stored)


NOBODY = hash_password("", os.urandom(16))
"""Compared for unknown users, so that they take as long as known ones."""


class Credentials(BaseModel):
    """The body of ``POST /login``."""

    user: Annotated[str, Field(min_length=1, max_length=100)]
    password: Annotated[str, Field(max_length=1000)]


class Login(HttpHandlerJsonBase):
    """Sets the cookie of a user who knows the password."""

    name = "handler-login"
    body_type = Credentials

    class Options(HttpHandlerJsonBase.Options):
        """The section ``handler-login``."""

        users_path: Annotated[
            ConfigPath, Field(alias="users-path", description="The file of hashes, by user")
        ]

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self.cookies = components.find(CookieAuth)

    async def start(self) -> None:
        self.on_config_update()

    def on_config_update(self) -> None:
        self.hashes: dict[str, str] = json.loads(Path(self.options.users_path).read_text())

    async def handle_request_json(
        self, request: HttpRequest, body: Credentials, context: Context
    ) -> Response:
        stored = self.hashes.get(body.user, NOBODY)
        # On a thread, so that the event loop serves others meanwhile.
        is_right = await asyncio.to_thread(is_password, body.password, stored)
        if not is_right or stored is NOBODY:
            raise HttpError(403, "wrong user or password")
        answer = response(200, json={"user": body.user})
        answer.headers["Set-Cookie"] = self.cookies.set_cookie(body.user)
        return answer


class Logout(HttpHandlerBase):
    """Deletes the cookie."""

    name = "handler-logout"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self.cookies = components.find(CookieAuth)

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        answer = response(204)
        answer.headers["Set-Cookie"] = self.cookies.clear_cookie()
        return answer


def store(user: str, password: str, path: Path = USERS) -> None:
    """Add a user to the file, or change the password."""
    hashes = json.loads(path.read_text()) | {user: hash_password(password, os.urandom(16))}
    path.write_text(json.dumps(hashes, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python login.py USER")
    store(sys.argv[1], getpass.getpass(f"new password of {sys.argv[1]}: "))
