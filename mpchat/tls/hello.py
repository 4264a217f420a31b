"""What a ClientHello asks for, before OpenSSL sees it. Pure.

Rules. OpenSSL judges whatever is malformed here. One thing is ours, since no call of Python before 3.15
can turn it off: key exchange over finite fields, which takes OpenSSL up to 174 ms in one step (RFC 7919;
CVE-2022-40735). No usual client prefers it.
"""

from __future__ import annotations

import struct

from mpchat.tls.records import HEADER, RECORD

_HANDSHAKE = 0x16
"""The type of a handshake's records."""
_CLIENT_HELLO = 1
_TLS_1_3 = 0x0304
_GROUPS, _VERSIONS, _SHARES = 10, 43, 51
"""Extensions (RFC 8446, 4.2)."""
_FINITE = frozenset(range(0x100, 0x105))
"""ffdhe2048 to ffdhe8192."""
_CURVES = frozenset((0x17, 0x18, 0x19, 0x1D, 0x1E))
"""What each OpenSSL 3 offers besides."""
_MOST_RECORDS = 16
"""Records of one ClientHello; one or two are usual."""


class TooManyPieces(ValueError):
    """A ClientHello in too many records."""


def read_hello(data: bytes) -> bytes | None:
    """Return the ClientHello with which a stream begins, None if it is not whole.

    That is b"" if there is none, or none that OpenSSL would take.

    Raises:
        TooManyPieces: It comes in too many records.
    """
    hello, at = b"", 0
    for _ in range(_MOST_RECORDS):
        if len(data) - at < HEADER:
            return None
        size = int.from_bytes(data[at + 3 : at + HEADER])
        if data[at] != _HANDSHAKE or not 0 < size <= RECORD:
            return b""
        part = data[at + HEADER : at + HEADER + size]
        hello += part
        if len(hello) >= 4:
            end = 4 + int.from_bytes(hello[1:4])
            if hello[0] != _CLIENT_HELLO or end > RECORD:
                return b""
            if len(hello) >= end:
                return hello[:end]
        if len(part) < size:
            return None
        at += HEADER + size
    raise TooManyPieces


def asks_for_finite_field(hello: bytes) -> bool:
    """Whether OpenSSL would choose a finite field.

    It takes the first key share that it can use. Without any, it asks for one of a curve, if the client
    has a curve. Groups that are unknown here decide nothing: this OpenSSL may not know them either.
    """
    try:
        extensions = _extensions(hello)
        if _TLS_1_3 not in _numbers(extensions.get(_VERSIONS, b"\0")[1:]):
            return False
        groups = _numbers(extensions.get(_GROUPS, b"\0\0")[2:])
        shares, rest = [], extensions.get(_SHARES, b"\0\0")[2:]
        while rest:
            group, size = struct.unpack_from("!HH", rest)
            shares.append(group)
            rest = rest[4 + size :]
    except (IndexError, struct.error):
        return False
    for share in shares:
        if share in _FINITE or share in _CURVES:
            return share in _FINITE
    return _CURVES.isdisjoint(groups) and not _FINITE.isdisjoint(groups)


def _extensions(hello: bytes) -> dict[int, bytes]:
    # Type, length, version and random; then the session, ciphers and compression, each with its length.
    at = 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2])
    at += 1 + hello[at]
    found, rest = {}, hello[at + 2 :]
    while rest:
        kind, size = struct.unpack_from("!HH", rest)
        found[kind] = rest[4 : 4 + size]
        rest = rest[4 + size :]
    return found


def _numbers(data: bytes) -> tuple[int, ...]:
    return tuple(number for (number,) in struct.iter_unpack("!H", data))
