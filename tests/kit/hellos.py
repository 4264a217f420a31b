"""ClientHellos of TLS 1.3 that no library would send (RFC 8446, section 4.1.2)."""

from __future__ import annotations

import os
from collections.abc import Sequence

X25519, P_256 = 0x001D, 0x0017
FFDHE2048, FFDHE8192 = 0x0100, 0x0104
_SIZES = {X25519: 32, FFDHE2048: 256, FFDHE8192: 1024}
"""Bytes of a key share."""


def client_hello(groups: Sequence[int], shares: Sequence[int]) -> bytes:
    """Return a record that names these groups for the key exchange, and has key shares for some of them.

    Nobody knows the keys of the shares, so nobody can go on; the server computes with them all the same.
    """
    extensions = (
        _extension(0x002B, b"\x02\x03\x04")  # TLS 1.3 alone
        + _extension(0x000A, _vector(b"".join(group.to_bytes(2) for group in groups)))
        + _extension(0x000D, _vector(bytes.fromhex("0403080708040401")))  # signature algorithms
        + _extension(0x0033, _vector(b"".join(map(_share, shares))))
    )
    body = (
        b"\x03\x03"
        + os.urandom(32)
        + b"\x20"
        + os.urandom(32)
        + _vector(bytes.fromhex("130213031301"))  # ciphers
        + b"\x01\x00"
        + _vector(extensions)
    )
    message = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + _vector(message)


def _vector(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data


def _extension(number: int, data: bytes) -> bytes:
    return number.to_bytes(2) + _vector(data)


def _share(group: int) -> bytes:
    # What a server checks with much effort is true of a square.
    share = os.urandom(32) if group == X25519 else (4).to_bytes(_SIZES[group])
    return group.to_bytes(2) + _vector(share)
