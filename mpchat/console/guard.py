"""Who may ask the console: nobody by accident, and with a token only those who have it.

Rules. A page of another origin must not reach the console through the browser of somebody who may. So
a request has to address us by a name that nobody else can point here (an IP address, localhost, a
configured name), which ends DNS rebinding, and a browser has to say that it comes from a page of ours, or
from none (Origin, Sec-Fetch-Site). Programs send neither. The page cannot send a header with its
WebSocket, so it has the token's digest in a cookie that scripts cannot read and that no other site makes
a browser send. Over TLS a page without it is another origin, and never gets the cookie. A certificate of
an operator is looked at with each request: OpenSSL verifies it only when a session begins.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from mpchat.console.options import LOGIN
from mpchat.tls.contexts import peer_is_valid

_FETCHES = {"same-origin", "none"}


class Guard:
    """Lets a request pass, or refuses it with the reason."""

    def __init__(
        self,
        token: str | None,
        hosts: tuple[str, ...],
        *,
        unix: bool,
        ask: Callable[[], web.Response],
        certified: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """``hosts`` are names beside localhost; on a Unix socket any name will do.

        ``ask`` returns the page that asks somebody for the token. ``certified``: whoever asks has a
        certificate, or does not come as far as here.
        """
        self._certified = certified
        self._wall_clock = wall_clock
        self._ask = ask
        self._token = token
        self._hosts = {"localhost", *hosts}
        self._unix = unix
        self._digest = _digest(token) if token is not None else ""
        # Browsers send a cookie to all ports of a host: consoles side by side need names of their own.
        self._cookie = f"mpchat-console-{self._digest[:8]}"

    def middleware(self) -> Middleware:
        """Return aiohttp's form of this guard."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            refusal = (
                self._refusal_by_certificate(request)
                or self.refusal_by_origin(request)
                or self._refusal_by_token(request)
            )
            return refusal if refusal is not None else await handler(request)

        return guarded

    def refusal_by_origin(self, request: web.Request) -> web.Response | None:
        """Return the refusal of a request that a foreign page may have sent, None for any other."""
        host = request.headers.get("Host", "")
        name = _name_of(host)
        if not (self._unix or _is_address(name) or name in self._hosts):
            text = (
                f"This console is not called {name!r}: name it in server.listener-monitor.hosts.\n"
            )
            return web.Response(status=421, text=text)
        origin = request.headers.get("Origin")
        if origin is not None and not _is_ours(urlsplit(origin), host, secure=request.secure):
            return web.Response(
                status=403, text="Pages of another origin may not use this console.\n"
            )
        if request.headers.get("Sec-Fetch-Site", "none") not in _FETCHES and not _is_visit(request):
            return web.Response(
                status=403, text="Pages of another site may not use this console.\n"
            )
        return None

    def _refusal_by_certificate(self, request: web.Request) -> web.Response | None:
        if not self._certified:
            return None
        connection = request.get_extra_info("ssl_object")
        if connection is not None and peer_is_valid(connection, self._wall_clock()):
            return None
        return web.Response(status=403, text="Your certificate is not valid now.\n")

    def _refusal_by_token(self, request: web.Request) -> web.Response | None:
        if self._token is None or (request.method, request.path) == ("POST", LOGIN):
            return None
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and is_same(given.strip(), self._token):
            return None
        if is_same(request.cookies.get(self._cookie, ""), self._digest):
            return None
        if request.path == "/" and "text/html" in request.headers.get("Accept", ""):
            response = self._ask()
        else:
            text = "This console needs a token: Authorization: Bearer TOKEN.\n"
            response = web.Response(status=401, text=text)
        response.headers["WWW-Authenticate"] = 'Bearer realm="mpchat console"'
        return response

    def log_in(self, given: str, *, secure: bool) -> web.Response | None:
        """Return the answer that gives a page its cookie, None for a wrong token.

        ``secure``: the request came over TLS, and so must the cookie.
        """
        if self._token is None or not is_same(given, self._token):
            return None
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            self._cookie, self._digest, secure=secure, httponly=True, samesite="Strict", path="/"
        )
        return response


def is_same(one: str, other: str) -> bool:
    """Compare two secrets in a time that tells nothing about them."""
    # What is no UTF-8 in a header comes as surrogates.
    pair = (text.encode("utf-8", "surrogatepass") for text in (one, other))
    return hmac.compare_digest(*pair)


def _digest(token: str) -> str:
    return hashlib.blake2b(token.encode(), person=b"mpchat-console").hexdigest()


def _name_of(host: str) -> str:
    """Return the name in a Host header, without its port and the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_ours(origin: SplitResult, host: str, *, secure: bool) -> bool:
    """Whether a page of this origin came from the console, which the request calls ``host``."""
    # Without TLS of our own there may be a proxy that has it, and then the page's scheme is https.
    return origin.netloc.lower() == host.lower() and (origin.scheme == "https" or not secure)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_visit(request: web.Request) -> bool:
    """Whether somebody has followed a link to the page: that shows another site nothing."""
    fetch = (request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest"))
    return (request.method, request.path, *fetch) == ("GET", "/", "navigate", "document")


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Add what every answer has, also one that is sent in parts, just before its head is sent."""
    # Not which versions of its libraries answer.
    response.headers["Server"] = "mpchat"
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
