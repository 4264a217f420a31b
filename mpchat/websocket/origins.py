"""The option ``allowed-origins``: whose pages may connect.

Rules. A browser lets every page open a WebSocket to every server, and sends the cookies that it has for
that server; only Origin says whose page it is (RFC 6455, section 10.2). With the option, a request with
Origin is accepted if the list has that origin. Without it, a request with Origin and with credentials
(Cookie, Authorization, a client certificate) is accepted if Origin names the host and port that the
request asks for, and where the service itself speaks TLS, if the page came by TLS, too. A client
that sends no Origin is not a browser, and is accepted. Hosts are compared without case; a missing port is
the scheme's own. Pages of apps, extensions and files have origins of other schemes (``app://x``,
``file://``) or ``null``: with credentials, only a list accepts them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from mpchat.http.authority import split_authority
from mpchat.http.errors import HttpError
from mpchat.http.fields import Fields

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SECURE = {"https", "wss"}
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([\x21-\x7e]*)")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a page; ``is_wildcard`` stands for every name below the host instead.

    With schemes other than the web's, the host is all that follows; ``null`` is a host alone.
    """

    scheme: str
    host: str
    port: int | None
    is_wildcard: bool = False

    def __str__(self) -> str:
        """Return the origin as a config has it."""
        if not self.scheme:
            return self.host
        port = "" if self.port == _DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{'*.' if self.is_wildcard else ''}{self.host}{port}"

    def matches(self, other: Origin) -> bool:
        """Whether this is, or includes, a page's origin."""
        if (self.scheme, self.port) != (other.scheme, other.port):
            return False
        return other.host.endswith(f".{self.host}") if self.is_wildcard else other.host == self.host


def parse_origin(text: str) -> Origin | None:
    """Return the origin that a header names; None if it names none (RFC 6454, 7.1)."""
    if text == "null":
        return _NULL
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme = found[1].lower()
    if scheme not in _DEFAULT_PORTS:
        return Origin(scheme, found[2].lower(), None)
    authority = split_authority(found[2])
    if authority is None:
        return None
    host, port = authority
    return Origin(scheme, host, _DEFAULT_PORTS[scheme] if port is None else port)


_NULL = Origin("", "null", None)


def _parse_allowed(value: Any) -> Origin:
    if isinstance(value, str):
        scheme, separator, rest = value.partition("://")
        is_wildcard = rest.startswith("*.")
        origin = parse_origin(scheme + separator + rest.removeprefix("*."))
        if origin is not None and "*" not in origin.host:
            return Origin(origin.scheme, origin.host, origin.port, is_wildcard)
    raise PydanticCustomError(
        "origin",
        "expected an origin such as https://example.com, https://*.example.com or file://; "
        "'null' needs quotes",
    )


AllowedOrigin = Annotated[
    Origin,
    BeforeValidator(_parse_allowed, json_schema_input_type=str),
    PlainSerializer(str, return_type=str, when_used="json"),
]
"""An entry of ``allowed-origins``."""


def refusal(
    fields: Fields,
    authority: str | None,
    allowed: tuple[Origin, ...] | None,
    *,
    secure: bool = False,
    certified: bool = False,
) -> str | None:
    """Return why a handshake is refused for its origin, or None.

    ``fields`` have Origin at most once; ``authority`` is the host and port that the request is for.
    ``secure``: the service itself speaks TLS; ``certified``: clients have certificates, which a browser
    shows for any page.
    """
    if "origin" not in fields:
        return None
    origin = parse_origin(fields["origin"][0])
    if allowed is not None:
        if origin is not None and any(entry.matches(origin) for entry in allowed):
            return None
        return "this origin is not among the allowed ones"
    if not certified and "cookie" not in fields and "authorization" not in fields:
        return None
    schemes = _SECURE if secure else _DEFAULT_PORTS.keys()
    if origin is not None and origin.scheme in schemes and authority is not None:
        here = split_authority(authority)
        if here is not None:
            # A proxy that ends TLS does not tell us the scheme: a missing port is that of the page's.
            port = _DEFAULT_PORTS.get(origin.scheme) if here[1] is None else here[1]
            if (origin.host, origin.port) == (here[0], port):
                return None
    return "a request with credentials from another origin"


def check_origin(
    fields: Fields,
    authority: str,
    allowed: tuple[Origin, ...] | None,
    *,
    secure: bool = False,
    certified: bool = False,
) -> None:
    """Check that the page behind a handshake for ``authority`` may connect; see ``refusal``.

    Raises:
        HttpError: 403.
    """
    reason = refusal(fields, authority, allowed, secure=secure, certified=certified)
    if reason is not None:
        raise HttpError(HTTPStatus.FORBIDDEN, reason)
