"""What a handshake agrees on."""

from __future__ import annotations

import pytest
from websockets.server import ServerProtocol

from mpchat.http.errors import HttpError
from mpchat.http.fields import Fields, parse_fields
from mpchat.http.upgrade import check_handshake
from mpchat.websocket.negotiation import DeflateOptions, agree, make_negotiator
from tests.kit.requests import FIELDS

NEGOTIATOR = make_negotiator(("b", "a"), DeflateOptions())
DEFLATE = "permessage-deflate; client_max_window_bits=12"


def asked(*lines: str) -> Fields:
    usual = "".join(f"{name}: {value}\r\n" for name, value in FIELDS.items())
    return parse_fields(usual + "".join(f"Sec-WebSocket-{line}\r\n" for line in lines))


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["Protocol: a"], {"Protocol": "a"}),
        (["Protocol: a,b"], {"Protocol": "b"}),
        (["Protocol: , a", "Protocol:", "Protocol: x,"], {"Protocol": "a"}),
        (["Protocol: a", "Extensions: x", "Extensions:"], {"Protocol": "a"}),
        (
            [
                "Protocol: a",
                "Extensions: x",
                "Extensions: ,",
                "Extensions: permessage-deflate; client_max_window_bits",
            ],
            {"Protocol": "a", "Extensions": DEFLATE},
        ),
        # RFC 7692, 7.1: what breaks a rule of the extension is declined.
        (
            ["Protocol: a", "Extensions: permessage-deflate; client_max_window_bits=99"],
            {"Protocol": "a"},
        ),
    ],
)
def test_what_both_sides_speak_is_chosen(lines: list[str], answer: dict[str, str]) -> None:
    fields = asked(*lines)
    check_handshake("GET", fields)
    agreed = agree(NEGOTIATOR, fields)
    found = {name.removeprefix("Sec-WebSocket-"): value for name, value in agreed.headers}
    assert found == {"Accept": found["Accept"], **answer}
    assert agreed.subprotocol == answer["Protocol"]


@pytest.mark.parametrize("offers", [(), ("Protocol: a, b",), (f"Extensions: {DEFLATE}",)])
def test_a_handler_with_neither_agrees_on_nothing(offers: tuple[str, ...]) -> None:
    fields = asked(*offers)
    asked_for_nothing = ServerProtocol(subprotocols=None, extensions=None)
    negotiator = make_negotiator((), None)
    assert negotiator is None
    assert agree(negotiator, fields) == agree(asked_for_nothing, fields)


def test_without_a_common_subprotocol_it_is_refused() -> None:
    with pytest.raises(HttpError) as caught:
        agree(NEGOTIATOR, asked("Protocol: A, c"))
    assert caught.value.status == 400


def test_a_subprotocol_may_be_optional() -> None:
    negotiator = make_negotiator(("b", "a"), None, optional=True)
    assert agree(negotiator, asked()).subprotocol is None
    assert agree(negotiator, asked("Protocol: c, a")).subprotocol == "a"
    with pytest.raises(HttpError) as caught:
        agree(negotiator, asked("Protocol: c"))
    assert caught.value.status == 400
    with pytest.raises(HttpError):
        agree(NEGOTIATOR, asked())
