"""The client that HTTP proxies name in ``X-Forwarded-For`` or ``Forwarded`` (RFC 7239). Pure.

Rules. Each proxy adds at the right end whom it got the request from, and a client may send whatever it
likes: only what trusted proxies have added counts. So the list is read from the right, each element
before anything to the left of it is looked at, and reading ends at the first address that is no trusted
proxy's: that is the client. It ends, too, at an element without an address (``unknown``, ``_hidden``, or
nonsense): nothing says whether what stands behind it can be believed, and the client is the last proxy
that is known. Where all are trusted, it is the first address of the list.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from mpchat.http.fields import Fields
from mpchat.http.grammar import TCHAR
from mpchat.server.trusted import TrustedProxies
from mpchat.websocket.client import Client, read_host

MAX_HOPS = 100
"""Elements of a line that are read: a chain of proxies has a few."""

Hop: TypeAlias = tuple[str, int] | None
"""Host and port, 0 if it is not known; None for an element without an address"""

_NODE = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::(?:([0-9]{1,5})|_[A-Za-z0-9._-]+))?")
_VALUE = rf'(?:{TCHAR}++|"(?:[^"\\]|\\.)*+")'
_PAIR = re.compile(rf"({TCHAR}++)=({_VALUE})")
_ELEMENT = re.compile(
    rf"[ \t]*+{_PAIR.pattern}(?:[ \t]*+;[ \t]*+(?:{_PAIR.pattern})?)*+[ \t]*+", re.S
)
_ESCAPE = re.compile(r"\\(.)", re.S)


def forwarded_for(lines: Sequence[str]) -> Iterator[Hop]:
    """Return the elements of the lines of X-Forwarded-For, from right to left."""
    for line in reversed(lines):
        for part in reversed(line.rsplit(",", MAX_HOPS)):
            if text := part.strip(" \t"):
                yield _node(text)


def forwarded(lines: Sequence[str]) -> Iterator[Hop]:
    """Return whom the elements of the lines of Forwarded are for, from right to left."""
    for line in reversed(lines):
        behind = ""
        for part in reversed(line.rsplit(",", MAX_HOPS)):
            text = part + behind
            if _ELEMENT.fullmatch(text) is not None:
                behind = ""
                yield _for(text)
            elif text.strip(" \t"):
                # The comma may be quoted, and the element begin further left.
                behind = f",{text}"
        if behind:
            yield None


def walk(hops: Iterator[Hop], trusts_host: Callable[[str], bool]) -> Hop:
    """Return the last one from the right that is not trusted, see the rules; None if there is none."""
    found: Hop = None
    for hop in itertools.islice(hops, MAX_HOPS):
        if hop is None:
            break
        found = hop
        if not trusts_host(hop[0]):
            break
    return found


def _for(element: str) -> Hop:
    values = [value for name, value in _PAIR.findall(element) if name.lower() == "for"]
    if len(values) != 1:
        return None
    (value,) = values
    return _node(_ESCAPE.sub(r"\1", value[1:-1]) if value.startswith('"') else value)


def _node(text: str) -> Hop:
    """Return what ``192.0.2.1:80``, ``[2001:db8::1]:80`` and the like name; the port may be missing."""
    found = _NODE.fullmatch(text)
    if found is None:
        # Many write IPv6 without brackets in X-Forwarded-For.
        host, port = read_host(text), 0
    else:
        host = read_host(found[2] if found[1] is None else found[1])
        port = int(found[3] or 0)
    return None if host is None or port > 65535 else (host, port)


_LISTS: Mapping[str, Callable[[Sequence[str]], Iterator[Hop]]] = {
    "x-forwarded-for": forwarded_for,
    "forwarded": forwarded,
}
"""What reads a header, by the value of the option ``forwarded``, which is its name."""


class Forwarding:
    """Finds out whom a request is from; ``client_of`` makes a client of host and port."""

    def __init__(
        self,
        header: str,
        trusted: TrustedProxies,
        client_of: Callable[[tuple[str, int]], Client],
    ) -> None:
        self._header = header
        self._list = _LISTS[header]
        self._trusted = trusted
        self._client_of = client_of

    def client(self, peer: Client, fields: Fields) -> Client:
        """Return whom a request is from that came from ``peer``: the peer itself unless it is trusted."""
        lines = fields.get(self._header)
        if lines is None or not self._trusted.trusts(peer):
            return peer
        found = walk(self._list(lines), self._trusted.trusts_host)
        return peer if found is None else self._client_of(found)
