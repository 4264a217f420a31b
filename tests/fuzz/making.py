"""Random handshakes of good and bad parts, some with random bytes on top."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.kit.requests import KEY

# Field by field: what has to be let in, and what has to be refused.
GOOD: dict[str, list[str]] = {
    "": [
        "GET /chat HTTP/1.1",
        "GET /chat?token=%20a&b[]={c} HTTP/1.1",
        "GET /ch%61t HTTP/1.1",
        "GET /x/.././chat HTTP/1.1",
        "GET http://example.com:8080/chat?a HTTP/1.1",
        "GET /rooms/a%2Fb HTTP/1.1",
        "GET /chat HTTP/1.2",
    ],
    "Host": ["localhost", "localhost:8080", "[::1]:80", "127.0.0.1", "a_b.example", "LOCALHOST:"],
    "Connection": ["Upgrade", "upgrade", "keep-alive, Upgrade", "Upgrade,,", "close,\tUPGRADE"],
    "Upgrade": ["websocket", "WebSocket", "h2c, websocket", "websocket,", "TLS/1.0,websocket"],
    "Sec-WebSocket-Key": [KEY, "AAAAAAAAAAAAAAAAAAAAAA==", "+/+/+/+/+/+/+/+/+/+/+w=="],
    "Sec-WebSocket-Version": ["13"],
}
BAD: dict[str, list[str]] = {
    "": [
        "POST /chat HTTP/1.1",
        "get /chat HTTP/1.1",
        "GET /nowhere HTTP/1.1",
        "GET chat HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /chat#a HTTP/1.1",
        "GET /chat%0 HTTP/1.1",
        "GET /chat%00 HTTP/1.1",
        "GET http:///chat HTTP/1.1",
        "GET http://a@b/chat HTTP/1.1",
        "GET ws://localhost/chat HTTP/1.1",
        "GET /chat HTTP/1.0",
        "GET /chat HTTP/2.0",
        "GET /chat",
        "GET  /chat HTTP/1.1",
        "GET /chat HTTP/1.1 ",
        "CONNECT localhost:80 HTTP/1.1",
    ],
    "Host": ["", "a b", "a/b", "a@b", "a:b", "a:65536", "::1", "[::1", "a, b", ":80"],
    "Connection": ["", "keep-alive", "Up grade", '"Upgrade"', "keep-alive; Upgrade", "Upgrad"],
    "Upgrade": ["", "h2c", "web socket", "websocket/13", "websockets", '"websocket"'],
    "Sec-WebSocket-Key": ["", KEY[:-1], KEY + "=", "AAAA", f"{KEY}, {KEY}", "_" + KEY[1:], "dGhl"],
    "Sec-WebSocket-Version": ["", "8", "14", "013", "13, 8", "13.0", "x"],
}
GOOD_MORE = [
    "Origin: http://localhost",
    "Sec-WebSocket-Protocol: a, b",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, b; c=1",
    "Content-Length: 0",
    "Expect: 100-continue",
    "Connection: keep-alive",
    "Upgrade: h2c",
    "X-Empty:",
    "X-High: \xe4\xff",
    "Accept: */*",
]
BAD_MORE = [
    "Host: localhost",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Protocol: a b",
    "Sec-WebSocket-Extensions: a; b=",
    'Sec-WebSocket-Extensions: a; b="c d"',
    "Content-Length: 1",
    "Content-Length: -0",
    "Transfer-Encoding: chunked",
    "Expect: x",
    "X : a",
    "X",
    ": a",
    " folded",
    "X: a\0b",
    "X: a\rb",
    "X: a\nY: b",
    "X: \x1b",
]
_BYTES = [*b'\r\n\0\t ,:;"=/%#@[]\x7f\x80\xffaZ09-_.']


@dataclass(frozen=True)
class Made:
    """A request; ``is_good`` is None where random bytes have made it unclear."""

    data: bytes
    is_good: bool | None


def make(rng: random.Random) -> Made:
    """Return the next request."""
    lines: list[str] = []
    is_good = True
    left_out: set[str] = set()
    for name, good in GOOD.items():
        draw = rng.random()
        if draw < 0.02 and name:
            left_out.add(name)
            continue
        if draw < 0.08:
            is_good = False
            value = rng.choice(BAD[name])
        else:
            value = rng.choice(good) if draw < 0.4 else good[0]
        lines.append(_line(rng, name, value) if name else value)
    for _ in range(rng.choice((0, 0, 1, 2))):
        if rng.random() < 0.2:
            is_good = False
            bad = rng.choice(BAD_MORE)
            # What is missing is not there once too often.
            lines.append("X" if bad.partition(":")[0] in left_out else bad)
        else:
            lines.append(rng.choice(GOOD_MORE))
    singles = [line for line in lines if line.startswith(("Origin:", "Content-Length:"))]
    is_good = is_good and not left_out and len({*singles}) == len(singles)
    rest = lines[1:]
    if not any(line.startswith(" ") for line in rest):
        rng.shuffle(rest)
    data = "\r\n".join([lines[0], *rest, "", ""]).encode("latin-1")
    if rng.random() < 0.02:
        data = b"\r\n" + data
    body = b"x" if "Content-Length: 1" in lines else b""
    if rng.random() < 0.5:
        return Made(_scramble(rng, data) + body, None)
    return Made(data + body, is_good)


def _line(rng: random.Random, name: str, value: str) -> str:
    """Write a field as one may: any case, space around its value."""
    draw = rng.random()
    if draw < 0.2:
        name = rng.choice((name.lower(), name.upper(), name.swapcase()))
    elif draw < 0.3:
        return f"{name}:{value}"
    elif draw < 0.4:
        return f"{name}:\t {value} \t"
    return f"{name}: {value}"


def _scramble(rng: random.Random, data: bytes) -> bytes:
    """Insert, replace and remove a few bytes before the end of the head."""
    scrambled = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(len(scrambled) - 3)
        draw = rng.random()
        if draw < 0.4:
            scrambled.insert(place, rng.choice(_BYTES))
        elif draw < 0.8:
            scrambled[place] = rng.choice(_BYTES)
        else:
            del scrambled[place]
    return bytes(scrambled)
