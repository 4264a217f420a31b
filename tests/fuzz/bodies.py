"""Random bodies, in chunks and of a given length, with a request behind each, to us and to h11.

Rules. If both accept a body, they must find the same content and the same rest: otherwise a proxy that
reads as h11 does could be made to take a part of a request for another one. Each way in which one of the
two is stricter has a name and a condition that is written without our code.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import h11

from mpchat.http.errors import HttpError
from mpchat.server.intake import Intake
from tests.fuzz.comparing import Mistake
from tests.kit.deciding import LIMITS, admit

REST = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
_SIZES = ("%x", "%X", "0%x", "000%x")
_EXTENSIONS = (b"", b"", b"", b";a", b";a=b", b' ;\ta = "b;\\"c"', b";a;b=c")
_BAD_EXTENSIONS = (b" ", b";", b"\t", b";a b", b';a="', b";a=\x01", b" a", b";\xff", b",a")
_TRAILERS = (b"", b"", b"X: y\r\n", b"X:\r\nY: \xe4 \r\n")
_BAD_TRAILERS = (b"X\r\n", b"X : y\r\n", b"X: y\r\n z\r\n", b"X: y\n", b" X: y\r\n", b": y\r\n")
_FRAMINGS = (
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: Chunked",
    b"transfer-encoding:\tchunked ",
)
_BAD_FRAMINGS = (
    b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    b"Content-Length: 3\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding : chunked",
)
_BYTES = [*b'\r\n\r\n0123abF;"= \tx\0\x7f\xff']


@dataclass(frozen=True)
class MadeBody:
    """A request with a body; ``content`` is None where what was done to it may have changed it."""

    data: bytes
    content: bytes | None
    is_good: bool | None


def make_body(rng: random.Random) -> MadeBody:
    """Return the next request."""
    is_good = True
    content = b""
    if rng.random() < 0.2:
        content = rng.randbytes(rng.randrange(1, 40))
        framing, body = b"Content-Length: %d" % len(content), content
        if rng.random() < 0.3:
            is_good = False
            framing = rng.choice(
                (b"%s\r\n%s" % (framing, framing), b"%s, %d" % (framing, len(content)))
            )
    else:
        framing, body = rng.choice(_FRAMINGS), b""
        if rng.random() < 0.1:
            is_good, framing = False, rng.choice(_BAD_FRAMINGS)
        for _ in range(rng.choice((0, 1, 1, 2, 5, 100))):
            # Mostly letters, so that what holds for a request is about what is not content.
            length = rng.choice((1, 1, 3, 16, 300))
            part = rng.randbytes(length) if rng.random() < 0.1 else b"x" * length
            extension = rng.choice(_EXTENSIONS)
            if rng.random() < 0.02:
                is_good, extension = False, rng.choice(_BAD_EXTENSIONS)
            size = (rng.choice(_SIZES) % len(part)).encode()
            body += size + extension + b"\r\n" + part + b"\r\n"
            content += part
        trailers = rng.choice(_TRAILERS)
        if rng.random() < 0.05:
            is_good, trailers = False, rng.choice(_BAD_TRAILERS)
        body += b"0" + rng.choice(_EXTENSIONS) + b"\r\n" + trailers + b"\r\n"
    head = b"GET /ping HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % framing
    if rng.random() < 0.5:
        return MadeBody(head + _scramble(rng, body) + REST, None, None)
    return MadeBody(head + body + REST, content, is_good)


def _scramble(rng: random.Random, body: bytes) -> bytes:
    """Insert, replace and remove a few bytes."""
    scrambled = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(len(scrambled)) if scrambled else 0
        draw = rng.random()
        if draw < 0.4 or not scrambled:
            scrambled.insert(place, rng.choice(_BYTES))
        elif draw < 0.8:
            scrambled[place] = rng.choice(_BYTES)
        else:
            del scrambled[place]
    return bytes(scrambled)


def _has(pattern: bytes) -> Callable[[bytes], bool]:
    return lambda data: re.search(pattern, data, re.I | re.S) is not None


STRICTER: dict[str, Callable[[bytes], bool]] = {
    "9112 2.2: h11 takes lines that end with LF alone": _has(rb"(?<!\r)\n"),
    "9112 7.1: h11 takes spaces behind a size": _has(rb"[0-9a-f][^\r\n]*[ \t]\r\n"),
    "9112 7.1.1: h11 takes any extension": _has(rb"[0-9a-f];"),
    "9112 7.1: h11 takes sizes of 17 digits": _has(rb"[0-9a-f]{17}"),
    "9112 5.2: h11 joins folded trailers": _has(rb"\n[ \t]"),
    "9110 5.5: h11 takes control characters": _has(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]"),
    "9112 6.1: h11 takes a length beside chunks": _has(
        rb"content-length:.*\r\ntransfer-encoding:|transfer-encoding:.*\r\ncontent-length:"
    ),
    "9110 8.6: h11 takes a length that is repeated": _has(
        rb"content-length: [0-9]+(, [0-9]|\r\ncontent-length)"
    ),
}

LAXER: dict[str, Callable[[bytes], bool]] = {
    "9112 7.1.1: h11 takes no space before an extension": _has(rb"[0-9a-f][ \t]+;"),
}

Outcome = tuple[bytes, bytes] | int | None
"""Content and rest; the status of a refusal; None if more is to come"""


def compare_bodies(made: MadeBody, rng: random.Random, differences: Counter[str]) -> None:
    """Have a request decided on, whole and in pieces, and count the differences that have a name.

    Raises:
        Mistake: One has none.
    """
    data = made.data
    ours = outcome(data)
    cuts = sorted(rng.choices(range(len(data)), k=rng.choice((1, 5))))
    pieces = [data[begin:end] for begin, end in pairwise([0, *cuts, len(data)])]
    if outcome(*pieces) != ours:
        raise Mistake(f"{ours}, in pieces {outcome(*pieces)}, cut at {cuts}: {data!r}")
    if made.is_good is not None and made.is_good is not isinstance(ours, tuple):
        raise Mistake(f"{ours}, made to be {'good' if made.is_good else 'bad'}: {data!r}")
    if made.is_good and ours != (made.content, REST):
        raise Mistake(f"{ours}, expected {made.content!r}: {data!r}")
    theirs = _theirs(data)
    if theirs == ours or (not isinstance(theirs, tuple) and not isinstance(ours, tuple)):
        return
    if ours is None or isinstance(ours, tuple) is isinstance(theirs, tuple):
        raise Mistake(f"{ours}, h11 says {theirs}: {data!r}")
    table = LAXER if isinstance(ours, tuple) else STRICTER
    names = [name for name, holds in table.items() if holds(data)]
    if not names:
        raise Mistake(f"{ours}, h11 says {theirs}: {data!r}")
    if len(names) == 1:
        differences[names[0]] += 1


def outcome(*pieces: bytes) -> Outcome:
    """Return what we make of a request that comes in pieces."""
    intake = Intake(LIMITS)
    found = None
    try:
        for piece in pieces:
            intake.feed(piece)
            while found is None:
                found = intake.next(admit)
                if found is None and not intake.is_behind:
                    break
    except HttpError as error:
        return int(error.status)
    return None if found is None else (found[1], intake.take_rest())


def _theirs(data: bytes) -> Outcome:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    content = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                return content, connection.trailing_data[0]
            elif event is h11.NEED_DATA:
                return None
    except h11.RemoteProtocolError as error:
        return int(error.error_status_hint)
