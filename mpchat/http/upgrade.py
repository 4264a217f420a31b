"""The checks of a handshake by RFC 6455, section 4.2.1, where ``websockets`` checks less or more. Pure.

Rules. A violation of the grammar is an error even in parts that are not used. Header lines of one name
form one list, in which empty elements do not count (RFC 9110, 5.6.1). No reason repeats bytes of the
client. ``websockets`` decides about the subprotocol and the extensions.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from mpchat.http.errors import HttpError, bad_request
from mpchat.http.fields import Fields, split_list
from mpchat.http.grammar import TCHAR, TOKEN

UPGRADE_TO_WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
}
"""What a 426 names: what is spoken on the path (RFC 9110, 15.5.22; RFC 6455, 4.4)."""

VERSION = "13"
TOKEN_OFFER = "base64url.bearer."
"""Beginning of a subprotocol that is a token: a page can send no other header with a WebSocket."""

_KEY = re.compile("[A-Za-z0-9+/]{22}==")
_PROTOCOL = re.compile(f"{TCHAR}+(?:/{TCHAR}+)?")
# An unquoted value must be a token, so a quoted one holds neither comma nor semicolon.
_VALUE = rf'(?:{TCHAR}+|"(?:{TCHAR}|\\{TCHAR})+")'
_EXTENSION = re.compile(rf"{TCHAR}+(?:[ \t]*;[ \t]*{TCHAR}+(?:[ \t]*=[ \t]*{_VALUE})?)*")
OFFERS = {"Sec-WebSocket-Protocol": TOKEN, "Sec-WebSocket-Extensions": _EXTENSION}
_TOKENS = frozenset(("websocket", "upgrade", "keep-alive"))
"""Elements that need no look at their grammar."""


def check_size(head: bytes, limit: int) -> None:
    """Check the size of a head that a connection will keep as long as it lives.

    Raises:
        HttpError: 431.
    """
    if len(head) > limit:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        raise HttpError(status, f"the headers of a handshake may have at most {limit} bytes")


def check_handshake(method: str, fields: Fields) -> None:
    """Check a request that has Upgrade.

    Raises:
        HttpError: 400, 405 or 426.
    """
    # The client may offer other protocols, too (RFC 9110, 7.8).
    if "websocket" not in _elements(fields["upgrade"], "Upgrade", _PROTOCOL):
        raise _upgrade_required("this path speaks WebSocket: ask for Upgrade: websocket")
    if "upgrade" not in _elements(fields.get("connection", []), "Connection", TOKEN):
        raise _upgrade_required("Connection must list Upgrade")
    if method != "GET":
        # Even if the handler allows other methods for plain requests.
        text = "a WebSocket handshake is a GET request"
        raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, text, {"Allow": "GET"})
    # Before the key, since other versions may define it differently.
    if fields.get("sec-websocket-version") != [VERSION]:
        raise _upgrade_required(f"this server speaks version {VERSION} of the protocol")
    for name, item in OFFERS.items():
        key = name.lower()
        # 4.3: at least one element.
        if key in fields and not _elements(fields[key], name, item):
            raise bad_request(f"empty {name}")
    if len(fields.get("origin", ())) > 1:
        # RFC 6454, 7.3.
        raise bad_request("more than one Origin")
    keys = fields.get("sec-websocket-key", ())
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        raise bad_request("expected one Sec-WebSocket-Key of 16 bytes in base64")


def check_token_offer(fields: Fields, subprotocol: str | None) -> None:
    """Check that a token is offered beside a subprotocol that was selected.

    Raises:
        HttpError: 400. A browser would refuse a 101 that selects none of its offers.
    """
    if subprotocol is None and "sec-websocket-protocol" in fields:
        offers = split_list(fields["sec-websocket-protocol"])
        if any(offer.startswith(TOKEN_OFFER) for offer in offers):
            text = "offer a subprotocol that this path has beside the token: a browser refuses an answer"
            raise bad_request(f"{text} that selects none")


def _elements(values: list[str], name: str, item: re.Pattern[str]) -> tuple[str, ...]:
    elements = split_list(values)
    for element in elements:
        if element not in _TOKENS and item.fullmatch(element) is None:
            raise bad_request(f"malformed {name}")
    return elements


def _upgrade_required(text: str) -> HttpError:
    """Return 426, with headers that name the protocol."""
    return HttpError(HTTPStatus.UPGRADE_REQUIRED, text, UPGRADE_TO_WEBSOCKET)
