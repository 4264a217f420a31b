"""Random handshakes; ``make fuzz`` tries more of them, for minutes."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from mpchat.http import body, head, target, upgrade
from tests.fuzz import bodies
from tests.fuzz.bodies import MadeBody, compare_bodies, make_body
from tests.fuzz.comparing import LAXER, STRICTER, Mistake, compare
from tests.fuzz.making import Made, make
from tests.kit.bodies import END, chunked
from tests.kit.requests import CHAT, KEY, PING, plain, shake
from tests.kit.requests import target as handshake_for

COUNT = 10_000

EXAMPLES = {
    "9112 2.2: h11 takes lines that end with LF alone": shake().replace(b"\r\n", b"\n"),
    "9112 5.2: h11 joins folded lines": shake(CHAT, "X: a", " b"),
    "9110 5.5: h11 takes control characters": shake(CHAT, "X: \x1b"),
    "9112 3.2: wsproto takes any target": handshake_for("/chat#a"),
    "9112 2.3: wsproto takes any version": shake("GET /chat HTTP/7.0"),
    "9110 7.2: wsproto takes any Host": shake(host="a b"),
    "6455 4.2.1: wsproto takes any key, and several": shake(CHAT, f"Sec-WebSocket-Key: {KEY}"),
    "6455 11.3.5: wsproto takes several versions": shake(CHAT, "Sec-WebSocket-Version: 13"),
    "9110 5.6.1: wsproto takes lists of anything": shake(CHAT, "Sec-WebSocket-Protocol: a b"),
    "6454 7.3: wsproto takes several origins": shake(CHAT, "Origin: http://a", "Origin: http://b"),
    "6455 4.1: wsproto reads bodies": shake(CHAT, "Content-Length: 1"),
    "9110 10.1.1: h11 ignores other expectations": shake(CHAT, "Expect: x"),
    "9112 2.2: h11 takes no empty line before a request": b"\r\n" + shake(),
    "3986 2.1: h11 takes no bytes beyond ASCII in a query": handshake_for("/chat?a=\xe9"),
    "9110 7.8: wsproto takes no list of protocols": shake(upgrade="h2c, websocket"),
    "9110 5.3: wsproto looks at the last line of Connection": shake(CHAT, "Connection: keep-alive"),
    "9110 7.2: wsproto decodes Host as IDNA": shake(host="xn--a"),
}


def test_random_handshakes_are_decided_as_they_were_made() -> None:
    rng = random.Random(6455)
    made = [make(rng) for _ in range(COUNT)]
    # Enough of each kind for the rest to mean something.
    assert (
        min(Counter(one.is_good for one in made)[kind] for kind in (True, False, None)) > COUNT / 10
    )
    for one in made:
        compare(one, Counter())


@pytest.mark.parametrize("name", [*STRICTER, *LAXER])
def test_every_named_difference_exists(name: str) -> None:
    found: Counter[str] = Counter()
    compare(Made(EXAMPLES[name], name in LAXER), found)
    assert found == {name: 1}


FAULTS = {
    "a space before the colon": (
        head,
        "FIELD_LINES",
        re.compile(r"(?:[!-9;-~]+ ?:[\x09\x20-\x7e\x80-\xff]*\r\n)*"),
    ),
    "a body on a handshake": (head, "_refuse_body", lambda headers: None),
    "lists of anything": (upgrade, "OFFERS", {"Sec-WebSocket-Protocol": re.compile(".*")}),
    "dots in paths": (target, "_remove_dots", lambda path: path),
    "no underscore in Host": (
        head,
        "split_authority",
        lambda text: None if "_" in text else ("", 0),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(*FAULTS[fault])
    rng = random.Random(9112)
    with pytest.raises(Mistake):
        for _ in range(COUNT):
            compare(make(rng), Counter())


BODIES = {
    "9112 2.2: h11 takes lines that end with LF alone": chunked(b"0\r\nX: y\n\n"),
    "9112 7.1: h11 takes spaces behind a size": chunked(b"1 \r\nx\r\n" + END),
    "9112 7.1.1: h11 takes any extension": chunked(b"1;=\r\nx\r\n" + END),
    "9112 7.1: h11 takes sizes of 17 digits": chunked(b"0" * 17 + b"\r\n\r\n"),
    "9112 5.2: h11 joins folded trailers": chunked(b"0\r\nX: a\r\n b\r\n\r\n"),
    "9110 5.5: h11 takes control characters": chunked(b"0\r\nX: \x1b\r\n\r\n"),
    "9112 6.1: h11 takes a length beside chunks": chunked(END, "Content-Length: 5"),
    "9110 8.6: h11 takes a length that is repeated": plain(PING, "Content-Length: 1, 1") + b"x",
    "9112 7.1.1: h11 takes no space before an extension": chunked(b"1 ;a\r\nx\r\n" + END),
}


def test_random_bodies_are_read_as_they_were_made_and_as_h11_reads_them() -> None:
    rng = random.Random(7230)
    made = [make_body(rng) for _ in range(COUNT // 5)]
    kinds = Counter(one.is_good for one in made)
    assert min(kinds[kind] for kind in (True, False, None)) > len(made) / 20
    for one in made:
        compare_bodies(one, rng, Counter())


@pytest.mark.parametrize("name", [*bodies.STRICTER, *bodies.LAXER])
def test_every_named_difference_about_bodies_exists(name: str) -> None:
    found: Counter[str] = Counter()
    compare_bodies(MadeBody(BODIES[name], None, None), random.Random(1), found)
    assert found == {name: 1}


def _take_any_end(self: body.ChunkedBody, data: bytearray, at: int) -> int:
    self._part = body._Part.SIZE
    return at + 2


BODY_FAULTS = {
    "the content's line end is not looked at": (
        body.ChunkedBody,
        "_take_end",
        _take_any_end,
    ),
    "a size of anything that int takes": (
        body,
        "_CHUNK",
        re.compile(rb"([+-]?[0-9A-Fa-f_]{1,16})((?:;.*)?)[ \t]*"),
    ),
    "trailers are not read": (body, "_skip_trailers", lambda data, at: (at + 2, True)),
    "chunks beside a length": (
        head,
        "body_length",
        lambda fields, version: (
            None if "transfer-encoding" in fields else int(fields.get("content-length", ["0"])[0])
        ),
    ),
}


@pytest.mark.parametrize("fault", BODY_FAULTS)
def test_a_fault_planted_in_bodies_is_found(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(*BODY_FAULTS[fault])
    rng = random.Random(9112)
    with pytest.raises((Mistake, ValueError)):
        for _ in range(COUNT):
            compare_bodies(make_body(rng), rng, Counter())
