"""A signed cookie: who somebody is, as the service itself wrote it at a login.

Rules. The cookie holds the identity and a MAC, in the open: anybody can read it, nobody can change it.
It cannot be taken back before it expires, but for everybody, by another key.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field
from websockets.http11 import Request

from mpchat.auth.claims import from_payload, to_payload
from mpchat.auth.signing import MIN_KEY, SecretKey, sign, verify
from mpchat.components.auth import AuthCheckerBase, Unauthorized
from mpchat.components.component import Component, Components
from mpchat.components.context import Context
from mpchat.components.identity import Identity
from mpchat.config.types import Duration
from mpchat.http.errors import HttpError

_PURPOSE = "cookie"


class CookieAuth(AuthCheckerBase):
    """A cookie that the service has signed (HMAC-SHA256): ``set_cookie`` makes it, ``check`` reads it.

    Its section is ``signed-cookie``. A plain request from a page of another host is refused; for
    handshakes ``allowed-origins`` says which pages may connect.
    """

    name = "signed-cookie"
    section_optional = True
    challenge = "Cookie"

    class Options(Component.Options):
        """The section ``signed-cookie``."""

        key: Annotated[
            SecretKey,
            Field(
                description=f"A secret of at least {MIN_KEY} random characters, "
                "by `key#env: COOKIE_KEY` in no file"
            ),
        ]
        previous_keys: Annotated[
            tuple[SecretKey, ...],
            Field(
                strict=False,
                alias="previous-keys",
                description="Earlier keys, by which cookies are still accepted",
            ),
        ] = ()
        cookie: Annotated[
            str,
            Field(
                pattern=r"^[A-Za-z0-9_-]+$",
                description="Name of the cookie. A browser takes one that begins with `__Host-` from "
                "this host alone, and by TLS",
            ),
        ] = "__Host-session"
        lifetime: Annotated[Duration, Field(description="Time from a login to its end")] = 43200.0

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._keys = [
            key.get_secret_value().encode() for key in (options.key, *options.previous_keys)
        ]
        self._clock = components.host.wall_clock

    def set_cookie(self, user: str, tags: Iterable[str] = ()) -> str:
        """Return the value of a header Set-Cookie that logs a user in.

        ``answer.headers["Set-Cookie"] = self.cookies.set_cookie("ada")``. No script can read the cookie
        (HttpOnly), it goes over TLS or to localhost only (Secure), and pages of other sites send it with
        nothing but a link (SameSite=Lax).
        """
        lifetime = self.options.lifetime
        identity = Identity(user, frozenset(tags), self._clock() + lifetime)
        value = sign(self._keys[0], _PURPOSE, to_payload(identity))
        return f"{self.options.cookie}={value}; Max-Age={int(lifetime)}; {_ATTRIBUTES}"

    def clear_cookie(self) -> str:
        """Return the value of a header Set-Cookie that logs out in this browser.

        A copy of the cookie stays valid until it expires.
        """
        return f"{self.options.cookie}=; Max-Age=0; {_ATTRIBUTES}"

    async def check(self, request: Request, context: Context) -> Identity | None:
        """Return whose cookie a request has."""
        name = self.options.cookie
        pairs = ";".join(request.headers.get_all("Cookie")).split(";")
        found = [
            value
            for key, _, value in (pair.strip(" \t").partition("=") for pair in pairs)
            if key == name
        ]
        if not found:
            return None
        if len(found) > 1:
            # One of them may be planted by another host of the domain.
            raise Unauthorized("more than one cookie of this name", self.challenge)
        payload = verify(self._keys, _PURPOSE, found[0])
        if payload is None:
            raise Unauthorized("the cookie was not signed by this service", self.challenge)
        if _is_from_elsewhere(request):
            raise HttpError(HTTPStatus.FORBIDDEN, "a request with credentials from another origin")
        identity, _ = from_payload(payload)
        return identity


_ATTRIBUTES = "Path=/; HttpOnly; Secure; SameSite=Lax"


def _is_from_elsewhere(request: Request) -> bool:
    """Whether a plain request comes from a page of another host; the origin of handshakes is checked."""
    if "Upgrade" in request.headers:
        # No page can send it but with a handshake (fetch.spec.whatwg.org, forbidden request-header).
        return False
    origins, hosts = request.headers.get_all("Origin"), request.headers.get_all("Host")
    return bool(origins) and [origin.partition("://")[2].lower() for origin in origins] != [
        host.lower() for host in hosts
    ]
