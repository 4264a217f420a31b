"""The checks of a handshake by RFC 6455, section 4.2.1, where ``websockets`` checks less or more. Pure.

Rules. A violation of the grammar is an error even in parts that are not used. Header lines of one name
form one list, in which empty elements do not count (RFC 9110, 5.6.1). No reason repeats bytes of the
client. ``websockets`` decides about the subprotocol and the extensions.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.utils import accept_key

from mpchat.server.errors import HttpError
from mpchat.server.framing import split_list
from mpchat.websocket.deflate import Agreement
from mpchat.websocket.handler import UPGRADE_TO_WEBSOCKET
from mpchat.websocket.negotiation import DeflateOptions, agreement, factories
from mpchat.websocket.origins import Origin, refusal

VERSION = "13"

_SILENT = logging.getLogger("mpchat.websocket.control")

_T = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_KEY = re.compile("[A-Za-z0-9+/]{22}==")
_TOKEN = re.compile(f"{_T}+")
_PROTOCOL = re.compile(f"{_T}+(?:/{_T}+)?")
# An unquoted value must be a token, so a quoted one holds neither comma nor semicolon.
_VALUE = rf'(?:{_T}+|"(?:{_T}|\\{_T})+")'
_EXTENSION = re.compile(rf"{_T}+(?:[ \t]*;[ \t]*{_T}+(?:[ \t]*=[ \t]*{_VALUE})?)*")
_OFFERS = {"Sec-WebSocket-Protocol": _TOKEN, "Sec-WebSocket-Extensions": _EXTENSION}


def check_size(head: bytes, limit: int) -> None:
    """Check the size of a head that a connection will keep as long as it lives.

    Raises:
        HttpError: 431.
    """
    if len(head) > limit:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        raise HttpError(status, f"the headers of a handshake may have at most {limit} bytes")


def check_handshake(method: str, headers: Headers) -> None:
    """Check a request that has Upgrade.

    Raises:
        HttpError: 400, 405 or 426.
    """
    # The client may offer other protocols, too (RFC 9110, 7.8).
    if "websocket" not in _elements(headers, "Upgrade", _PROTOCOL):
        raise _upgrade_required("this path speaks WebSocket: ask for Upgrade: websocket")
    if "upgrade" not in _elements(headers, "Connection", _TOKEN):
        raise _upgrade_required("Connection must list Upgrade")
    if method != "GET":
        # Even if the handler allows other methods for plain requests.
        text = "a WebSocket handshake is a GET request"
        raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, text, {"Allow": "GET"})
    # Before the key, since other versions may define it differently.
    if headers.get_all("Sec-WebSocket-Version") != [VERSION]:
        raise _upgrade_required(f"this server speaks version {VERSION} of the protocol")
    for name, item in _OFFERS.items():
        # 4.3: at least one element.
        if name in headers and not _elements(headers, name, item):
            raise _bad(f"empty {name}")
    if len(headers.get_all("Origin")) > 1:
        # RFC 6454, 7.3.
        raise _bad("more than one Origin")
    keys = headers.get_all("Sec-WebSocket-Key")
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        raise _bad("expected one Sec-WebSocket-Key of 16 bytes in base64")


@dataclass(slots=True)
class Agreed:
    """The result of an accepted handshake.

    Attributes:
        headers: The headers of the answer that state it.
    """

    headers: list[tuple[str, str]]
    subprotocol: str | None
    compression: Agreement | None


def make_judge(subprotocols: Sequence[str], compression: DeflateOptions | None) -> ServerProtocol:
    """Return the object that negotiates subprotocols and extensions in all handshakes of one handler."""
    names = [Subprotocol(name) for name in subprotocols]
    extensions = factories(compression)
    return ServerProtocol(subprotocols=names or None, extensions=extensions, logger=_SILENT)


def agree(judge: ServerProtocol, headers: Headers) -> Agreed:
    """Return the result of a handshake that has been checked.

    Raises:
        HttpError: 400, the two sides have no subprotocol in common.
    """
    # Lines without an element are ignored here, and errors to ``websockets``.
    offers = Headers(
        (name, value) for name in _OFFERS for value in headers.get_all(name) if value.strip(", \t")
    )
    try:
        extensions, agreed = judge.process_extensions(offers)
        subprotocol = judge.process_subprotocol(offers)
    except InvalidHandshake as error:
        raise _bad(f"failed to open a WebSocket connection: {error}") from error
    accepting = [("Sec-WebSocket-Accept", accept_key(headers["Sec-WebSocket-Key"]))]
    if extensions is not None:
        accepting.append(("Sec-WebSocket-Extensions", extensions))
    if subprotocol is not None:
        accepting.append(("Sec-WebSocket-Protocol", subprotocol))
    return Agreed(accepting, subprotocol, agreement(agreed))


def check_origin(headers: Headers, authority: str, allowed: tuple[Origin, ...] | None) -> None:
    """Check that the page behind a handshake for ``authority`` may connect.

    Raises:
        HttpError: 403.
    """
    reason = refusal(headers, authority, allowed)
    if reason is not None:
        raise HttpError(HTTPStatus.FORBIDDEN, reason)


def _elements(headers: Headers, name: str, item: re.Pattern[str]) -> list[str]:
    elements = split_list(headers.get_all(name))
    if not all(item.fullmatch(element) for element in elements):
        raise _bad(f"malformed {name}")
    return elements


def _upgrade_required(text: str) -> HttpError:
    """Return 426, with headers that name the protocol."""
    return HttpError(HTTPStatus.UPGRADE_REQUIRED, text, UPGRADE_TO_WEBSOCKET)


def _bad(text: str) -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, text)
