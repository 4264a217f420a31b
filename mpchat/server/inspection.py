"""The requests that are being answered, as operators see them, by userver's handler-inspect-requests.

Rules. A row has userver's fields. What proves who a client is does not leave the worker: values of
headers and arguments that carry credentials are ``***``. Values of other arguments and bodies are shown;
a body is cut, since whoever looks at requests does not want megabytes.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote

from mpchat.http.head import parse_request
from mpchat.http.target import split_target
from mpchat.http.upgrade import TOKEN_OFFER

HIDDEN_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
HIDDEN_ARGUMENTS = frozenset(
    {"access_token", "api_key", "apikey", "code", "jwt", "password", "secret", "ticket", "token"}
)
"""Names of arguments, in lower case, that usually carry a credential"""
_HIDDEN = "***"
_BODY_BYTES = 64 * 1024


class InFlight(NamedTuple):
    """A request that a handler works on, or an open WebSocket connection."""

    head: bytes
    body: bytes
    since: float
    """When its handling began, by the worker's clock"""


def describe_request(
    found: InFlight, now: float, wall_time: float, *, with_body: bool
) -> dict[str, Any]:
    """Return the row of a request; ``wall_time`` is ``now`` in seconds since 1970."""
    request = parse_request(found.head)
    seconds = now - found.since
    path, query = split_target(request.path)
    arguments = [
        (name, _HIDDEN if name.lower() in HIDDEN_ARGUMENTS else value)
        for name, value in parse_qsl(query, keep_blank_values=True)
    ]
    args: dict[str, list[str]] = {}
    for name, value in arguments:
        args.setdefault(name, []).append(value)
    headers: dict[str, str] = {}
    for name, value in request.headers.raw_items():
        shown = _shown(name.lower(), value)
        headers[name] = f"{headers[name]}, {shown}" if name in headers else shown
    row: dict[str, Any] = {
        "method": request.method,
        "url": _url(path, query, arguments),
        "http_version": request.protocol.removeprefix("HTTP/"),
        "request_path": path,
        "handling-duration-ms": round(seconds * 1000),
        "start-handling-timestamp": _timestamp(wall_time - seconds),
        "host": request.headers.get("Host", ""),
        "args": args,
        "headers": headers,
    }
    if with_body:
        row["request-body"] = _text(found.body)
    return row


def _shown(name: str, value: str) -> str:
    if name in HIDDEN_HEADERS:
        return _HIDDEN
    if name == "sec-websocket-protocol":
        offers = (offer.strip(" \t") for offer in value.split(","))
        return ", ".join(
            TOKEN_OFFER + _HIDDEN if offer.startswith(TOKEN_OFFER) else offer for offer in offers
        )
    return value


def _url(path: str, query: str, arguments: list[tuple[str, str]]) -> str:
    """Return the target as it was sent, unless one of its arguments is hidden."""
    if all(value != _HIDDEN for _name, value in arguments):
        return f"{path}?{query}" if query else path
    shown = (f"{quote(name)}={quote(value, safe='*')}" for name, value in arguments)
    return f"{path}?{'&'.join(shown)}"


def _timestamp(at: float) -> str:
    """Return a time in userver's format: ``Mon, 30 Nov 2026 21:30:00 UTC``."""
    return formatdate(at, usegmt=True).replace("GMT", "UTC")


def _text(body: bytes) -> str:
    text = body[:_BODY_BYTES].decode(errors="replace")
    return text if len(body) <= _BODY_BYTES else f"{text} … (cut, of {len(body)} bytes)"
