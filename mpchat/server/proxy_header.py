"""The header of the PROXY protocol, versions 1 and 2: whom a proxy speaks for. Pure.

Rules. By the specification, proxy-protocol.txt of HAProxy. One version is expected, never guessed. Bytes
that cannot become a header are refused as soon as they show it, and a header has a bound, so a sender
that dawdles holds little. TLVs are skipped unread. Version 1 with UNKNOWN, and version 2 with LOCAL or
without a family, say nothing about a client: the socket's own address counts.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mpchat.websocket.client import read_host, show_host

MAX_V1 = 107
"""Bytes of the longest line of version 1 (proxy-protocol.txt, 2.1)."""
MAX_V2 = 4096
"""Bytes of the longest header of version 2 that is taken; without TLVs it has at most 232."""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

Source: TypeAlias = tuple[str, int] | Literal["unix"] | None
"""Host and port of the client; ``unix`` for one on a Unix socket; None for the socket's own address."""


class HeaderError(Exception):
    """What was sent is no header of this version; the text says why."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A whole header.

    Attributes:
        size: Its bytes; those behind it belong to the client.
    """

    size: int
    source: Source


Reader: TypeAlias = Callable[[bytes | bytearray], ProxyHeader | None]
"""Returns the header at the beginning of what was sent, None while it is incomplete."""


# Version 1: a line

_BEGINNING = b"PROXY "
_PORT = rb"(0|[1-9][0-9]{0,4})"
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.S)
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) %b %b" % (_PORT, _PORT))
_COLON = {b"4": False, b"6": True}
"""Whether addresses of a family have colons"""


def read_v1(data: bytes | bytearray) -> ProxyHeader | None:
    """Read a line such as ``PROXY TCP4 192.0.2.1 192.0.2.2 51234 443``.

    Raises:
        HeaderError: It cannot become one.
    """
    if not data.startswith(_BEGINNING[: len(data)]):
        raise HeaderError("not a PROXY header of version 1")
    end = data.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        if len(data) >= MAX_V1:
            raise HeaderError("a PROXY header of version 1 that does not end")
        return None
    line = bytes(data[:end])
    if _UNKNOWN.fullmatch(line) is not None:
        return ProxyHeader(end + 2, None)
    found = _LINE.fullmatch(line)
    if found is not None:
        family, *texts, source_port, own_port = found.groups()
        hosts = [_host_of_family(text.decode(), colon=_COLON[family]) for text in texts]
        if None not in hosts and max(int(source_port), int(own_port)) <= 65535:
            return ProxyHeader(end + 2, (str(hosts[0]), int(source_port)))
    raise HeaderError("a malformed PROXY header of version 1")


def _host_of_family(text: str, *, colon: bool) -> str | None:
    return read_host(text) if (":" in text) is colon else None


# Version 2: a fixed part, addresses, TLVs

_FIXED = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_IPV4, _IPV6 = struct.Struct("!4s4sHH"), struct.Struct("!16s16sHH")
_UNIX_BYTES = 216


@dataclass(frozen=True)
class _Family:
    """A family and what is transported: bytes of the two addresses, and who their first one is."""

    size: int
    source: Callable[[bytes], Source]


def _own(_addresses: bytes) -> Source:
    return None


def _unix(_addresses: bytes) -> Source:
    return "unix"


def _ip(form: struct.Struct) -> Callable[[bytes], Source]:
    def source(addresses: bytes) -> Source:
        packed, _own_address, port, _own_port = form.unpack(addresses)
        return show_host(packed), port

    return source


# For HTTP/3, a proxy passes on what came in datagrams.
_FAMILIES: dict[int, _Family] = {
    0x00: _Family(0, _own),
    0x11: _Family(_IPV4.size, _ip(_IPV4)),
    0x12: _Family(_IPV4.size, _ip(_IPV4)),
    0x21: _Family(_IPV6.size, _ip(_IPV6)),
    0x22: _Family(_IPV6.size, _ip(_IPV6)),
    0x31: _Family(_UNIX_BYTES, _unix),
    0x32: _Family(_UNIX_BYTES, _unix),
}
_IGNORED = _FAMILIES[0x00]
"""What LOCAL says of a family"""
_COMMAND_AT, _FAMILY_AT = 12, 13


def read_v2(data: bytes | bytearray) -> ProxyHeader | None:
    """Read a binary header.

    Raises:
        HeaderError: It cannot become one.
    """
    if not data.startswith(SIGNATURE[: len(data)]):
        raise HeaderError("not a PROXY header of version 2")
    if len(data) > _COMMAND_AT and data[_COMMAND_AT] not in (_LOCAL, _PROXY):
        raise HeaderError("a PROXY header of another version, or with an unknown command")
    if len(data) <= _FAMILY_AT:
        return None
    family = _IGNORED if data[_COMMAND_AT] == _LOCAL else _FAMILIES.get(data[_FAMILY_AT])
    if family is None:
        raise HeaderError("a PROXY header with an unknown family")
    if len(data) < _FIXED.size:
        return None
    size = _FIXED.size + _FIXED.unpack_from(data)[3]
    if size < _FIXED.size + family.size:
        raise HeaderError("a PROXY header too short for its addresses")
    if size > MAX_V2:
        raise HeaderError(f"a PROXY header of more than {MAX_V2} bytes")
    if len(data) < size:
        return None
    return ProxyHeader(size, family.source(bytes(data[_FIXED.size : _FIXED.size + family.size])))


READERS: dict[str, Reader] = {"v1": read_v1, "v2": read_v2}
"""What reads a header, by the value of ``proxy-protocol``."""
