"""The option ``permessage-deflate``, and what a handshake makes of it (RFC 7692, section 7.1).

Rules. ``websockets`` accepts the first of a client's offers that it can, and declines the others, also
those that break a rule. Without an accepted offer the connection stays uncompressed. The streams of
``websockets`` are not used.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, WrapSerializer
from pydantic_core import PydanticCustomError
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions import Extension, ServerExtensionFactory
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.server import ServerProtocol
from websockets.typing import ExtensionParameter, Subprotocol
from websockets.utils import accept_key

from mpchat.config.types import OptionsModel
from mpchat.http.errors import bad_request
from mpchat.http.fields import Fields
from mpchat.http.upgrade import OFFERS, check_token_offer
from mpchat.websocket.deflate import Agreement

_SILENT = logging.getLogger("mpchat.websocket.control")

_WINDOW = "server_max_window_bits"


class _Factory(ServerPerMessageDeflateFactory):
    """Tells our window only to a client that asked for one.

    A sender may always use a smaller window than was agreed on (RFC 7692, section 7.1.2.1), and some
    clients refuse a parameter that they have not offered.
    """

    def process_request_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        answer, extension = super().process_request_params(params, accepted_extensions)
        if all(name != _WINDOW for name, _value in params):
            answer = [(name, value) for name, value in answer if name != _WINDOW]
        return answer, extension


class DeflateOptions(OptionsModel):
    """Parameters of the extension, with the names that the RFC has for them."""

    server_no_context_takeover: Annotated[
        bool,
        Field(
            alias="server-no-context-takeover",
            description="Compress each of our messages by itself, and keep no window for them",
        ),
    ] = False
    client_no_context_takeover: Annotated[
        bool,
        Field(
            alias="client-no-context-takeover",
            description="Have clients do the same with theirs",
        ),
    ] = False
    server_max_window_bits: Annotated[
        int,
        Field(
            alias="server-max-window-bits",
            ge=9,
            le=15,
            description="Our messages refer to at most 2 to the power of this many bytes before",
        ),
    ] = 12
    client_max_window_bits: Annotated[
        int,
        Field(
            alias="client-max-window-bits",
            ge=9,
            le=15,
            description="The same for a client's messages; one that cannot be told so uses 15",
        ),
    ] = 12


def _read(value: Any) -> Any:
    if isinstance(value, bool):
        return {} if value else None
    if isinstance(value, dict):
        return value
    raise PydanticCustomError("deflate", "expected true, false or a mapping of options")


def _write(options: DeflateOptions | None, write: SerializerFunctionWrapHandler) -> Any:
    return False if options is None else write(options)


Deflate = Annotated[
    DeflateOptions | None,
    BeforeValidator(_read, json_schema_input_type=bool | DeflateOptions),
    WrapSerializer(_write, when_used="json"),
]
"""``true`` for the extension with its defaults, ``false``, or a mapping of its options."""


def factories(options: DeflateOptions | None) -> list[ServerExtensionFactory] | None:
    """Return the extensions that a handshake may agree on."""
    if options is None:
        return None
    return [
        _Factory(
            server_no_context_takeover=options.server_no_context_takeover,
            client_no_context_takeover=options.client_no_context_takeover,
            server_max_window_bits=options.server_max_window_bits,
            client_max_window_bits=options.client_max_window_bits,
            # The streams that it makes are dropped: the smallest do.
            compress_settings={"memLevel": 1},
        )
    ]


def agreement(extensions: Sequence[Extension]) -> Agreement | None:
    """Return what a handshake has settled, None without compression."""
    for extension in extensions:
        if isinstance(extension, PerMessageDeflate):
            return Agreement(
                client_bits=extension.remote_max_window_bits,
                server_bits=extension.local_max_window_bits,
                client_takeover=not extension.remote_no_context_takeover,
                server_takeover=not extension.local_no_context_takeover,
            )
    return None


@dataclass(slots=True)
class Agreed:
    """The result of an accepted handshake.

    Attributes:
        headers: The headers of the answer that state it.
    """

    headers: list[tuple[str, str]]
    subprotocol: str | None
    compression: Agreement | None


def make_negotiator(
    subprotocols: Sequence[str], compression: DeflateOptions | None, *, optional: bool = False
) -> ServerProtocol | None:
    """Return the object that negotiates subprotocols and extensions in all handshakes of one handler.

    None if the handler has neither. With ``optional`` a client may offer no subprotocol; one that offers
    others only is refused in any case.
    """
    if not subprotocols and compression is None:
        return None
    names = [Subprotocol(name) for name in subprotocols]
    extensions = factories(compression)
    return ServerProtocol(
        subprotocols=names or None,
        extensions=extensions,
        select_subprotocol=_select_if_offered if optional else None,
        logger=_SILENT,
    )


def _select_if_offered(
    protocol: ServerProtocol, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Select as ``websockets`` does, unless nothing is offered."""
    return ServerProtocol.select_subprotocol(protocol, offered) if offered else None


def agree(negotiator: ServerProtocol | None, fields: Fields) -> Agreed:
    """Return the result of a handshake that has been checked.

    Raises:
        HttpError: 400, the two sides have no subprotocol in common.
    """
    accepting = [("Sec-WebSocket-Accept", accept_key(fields["sec-websocket-key"][0]))]
    if negotiator is None:
        return Agreed(accepting, None, None)
    # Lines without an element are ignored here, and errors to ``websockets``.
    offers = Headers(
        (name, value)
        for name in OFFERS
        for value in fields.get(name.lower(), ())
        if value.strip(", \t")
    )
    try:
        extensions, agreed = negotiator.process_extensions(offers)
        subprotocol = negotiator.process_subprotocol(offers)
    except InvalidHandshake as error:
        check_token_offer(fields, None)
        text = f"failed to open a WebSocket connection: {error}"
        raise bad_request(text) from error
    if extensions is not None:
        accepting.append(("Sec-WebSocket-Extensions", extensions))
    if subprotocol is not None:
        accepting.append(("Sec-WebSocket-Protocol", subprotocol))
    return Agreed(accepting, subprotocol, agreement(agreed))
