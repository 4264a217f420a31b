"""One request, decided three times: by us, by how it was made, and by h11 with wsproto.

Rules. Each way in which h11 and wsproto decide otherwise has a name, a section and a condition that is
written without our code; a difference without one is a mistake of ours. Where the condition is no more
than an unusual value in a field, whether it is good or bad is known from how the request was made.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from wsproto import ConnectionType, WSConnection
from wsproto.events import Request
from wsproto.utilities import RemoteProtocolError

from mpchat.http.errors import HttpError
from mpchat.server.intake import Intake
from tests.fuzz.making import GOOD, GOOD_MORE, Made
from tests.kit.deciding import LIMITS, admit, decided, status_of_head

REFUSALS = {400, 403, 404, 405, 413, 414, 417, 426, 501, 505}
_TARGETS = {line.split(" ")[1].encode() for line in GOOD[""]}


@dataclass
class Seen:
    """A head as a careless reader would see it."""

    data: bytes
    lines: list[bytes] = field(init=False)
    fields: list[tuple[bytes, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        head = self.data.lstrip(b"\r\n")
        self.lines = re.split(rb"\r?\n", re.split(rb"\n\r?\n", head)[0].rstrip(b"\r"))
        pairs = [line.partition(b":") for line in self.lines[1:]]
        self.fields = [(name.strip().lower(), value.strip()) for name, _, value in pairs]

    def values(self, *names: str) -> list[bytes]:
        """Return the values of the fields of these names."""
        return [value for name, value in self.fields if name.decode("latin-1") in names]

    def has_odd(self, *names: str) -> bool:
        """Whether a field of these names has a value that is not known to be good."""
        return any(
            value not in _KNOWN.get(name, ())
            for name, value in self.fields
            if name.decode("latin-1") in names
        )


def _known() -> dict[bytes, set[bytes]]:
    known: dict[bytes, set[bytes]] = {}
    for name, values in GOOD.items():
        known[name.lower().encode()] = {value.encode("latin-1") for value in values}
    for line in GOOD_MORE:
        name, _, value = line.partition(":")
        known.setdefault(name.lower().encode(), set()).add(value.strip().encode("latin-1"))
    return known


_KNOWN = _known()
Differences = dict[str, Callable[[Seen], bool]]

STRICTER: Differences = {
    "9112 2.2: h11 takes lines that end with LF alone": lambda seen: bool(
        re.search(rb"(?<!\r)\n", seen.data)
    ),
    "9112 5.2: h11 joins folded lines": lambda seen: bool(re.search(rb"\n[ \t]", seen.data)),
    "9110 5.5: h11 takes control characters": lambda seen: bool(
        re.search(rb"[\x01-\x08\x0e-\x1f\x7f]", seen.data)
    ),
    "9112 3.2: wsproto takes any target": lambda seen: (
        not (_TARGETS & {*seen.lines[0].split(b" ")})
    ),
    "9112 2.3: wsproto takes any version": lambda seen: (
        not re.search(rb" HTTP/1\.[1-9]$", seen.lines[0])
    ),
    "9110 7.2: wsproto takes any Host": lambda seen: seen.has_odd("host"),
    "6455 4.2.1: wsproto takes any key, and several": lambda seen: (
        seen.has_odd("sec-websocket-key") or len(seen.values("sec-websocket-key")) > 1
    ),
    "6455 11.3.5: wsproto takes several versions": lambda seen: (
        len(seen.values("sec-websocket-version")) > 1
    ),
    "9110 5.6.1: wsproto takes lists of anything": lambda seen: seen.has_odd(
        "connection", "upgrade", "sec-websocket-protocol", "sec-websocket-extensions"
    ),
    "6454 7.3: wsproto takes several origins": lambda seen: len(seen.values("origin")) > 1,
    "6455 4.1: wsproto reads bodies": lambda seen: bool(
        seen.values("content-length", "transfer-encoding")
    ),
    "9110 10.1.1: h11 ignores other expectations": lambda seen: seen.has_odd("expect"),
}
LAXER: Differences = {
    "9112 2.2: h11 takes no empty line before a request": lambda seen: seen.data.startswith(
        b"\r\n"
    ),
    "3986 2.1: h11 takes no bytes beyond ASCII in a query": lambda seen: bool(
        re.search(rb"\?[^ ]*[\x80-\xff]", seen.lines[0])
    ),
    "9110 7.8: wsproto takes no list of protocols": lambda seen: (
        len(seen.values("upgrade")) > 1 or b"," in b"".join(seen.values("upgrade"))
    ),
    "9110 5.3: wsproto looks at the last line of Connection": lambda seen: (
        len(seen.values("connection")) > 1
    ),
    "9110 7.2: wsproto decodes Host as IDNA": lambda seen: seen.has_odd("host"),
}


class Mistake(Exception):
    """A request about which we decided wrongly."""


def compare(made: Made, differences: Counter[str]) -> None:
    """Have a request decided on, and count the differences that have a name.

    Raises:
        Mistake: One has none.
    """
    ours = decided(made.data)
    accepted = ours == 101
    if made.is_good is not None and made.is_good is not accepted:
        raise Mistake(f"{ours}, made to be {'good' if made.is_good else 'bad'}: {made.data!r}")
    if not accepted and ours is not None and ours not in REFUSALS | {200}:
        raise Mistake(f"{ours}: {made.data!r}")
    if accepted or len(made.data) % 4 == 0:
        check_pieces(made.data, ours)
    if ours is None or accepted is _theirs(made.data):
        return
    seen = Seen(made.data)
    table = LAXER if accepted else STRICTER
    names = [name for name, holds in table.items() if holds(seen)]
    if not names:
        raise Mistake(f"{ours}, h11 and wsproto say otherwise: {made.data!r}")
    if len(names) == 1:
        differences[names[0]] += 1


def _theirs(data: bytes) -> bool:
    """Whether wsproto would accept; it waits where we refuse, too."""
    connection = WSConnection(ConnectionType.SERVER)
    try:
        connection.receive_data(data)
    except (RemoteProtocolError, UnicodeError):
        return False
    return any(isinstance(event, Request) for event in connection.events())


def check_pieces(data: bytes, ours: int | None) -> None:
    """Byte by byte the request is decided in the same way, if it is good not before its end."""
    intake = Intake(LIMITS)
    for cut, byte in enumerate(data, 1):
        intake.feed(bytes([byte]))
        try:
            found = intake.next(admit)
            status = None if found is None else status_of_head(found[0])
        except HttpError as error:
            status = error.status
        if status is not None:
            if status != ours:
                raise Mistake(f"{status} after {cut} bytes, {ours} at once: {data!r}")
            return
    if ours is not None:
        raise Mistake(f"not over, {ours} at once: {data!r}")
