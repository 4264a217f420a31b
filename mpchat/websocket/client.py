"""Who is at the other end of a socket: one value for handlers, limits and logs.

It is made once for each socket, before any limit is applied to its address. An IPv4 client on a
dual-stack socket has an IPv4 address everywhere. Limits count an IPv6 network as one client, because one
subscriber usually has a whole /64 to take addresses from.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from mpchat.scoreboard.hashed import hash_name

_MAPPED = bytes(10) + b"\xff\xff"
"""The prefix of an IPv4 address that is written as IPv6 (RFC 4291, 2.5.5.2)."""


@dataclass(frozen=True, slots=True)
class Client:
    """The other end of a socket.

    Attributes:
        address: ``(host, port)`` for IPv4, ``(host, port, flowinfo, scope_id)`` for IPv6, as sockets
            have them; None on a Unix socket.
        hashed: What limits per address count as one client: the hash of the packed IPv4 address, or of
            the IPv6 network; None on a Unix socket.
    """

    address: tuple[Any, ...] | None
    hashed: int | None

    def __str__(self) -> str:
        """Return the address for a reader."""
        if self.address is None:
            return "unix socket"
        host, port = self.address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def client_of(name: Any, ipv6_prefix: int, key: bytes) -> Client:
    """Return the client with this name, which is what ``getpeername`` returns.

    ``ipv6_prefix`` is the length of an IPv6 network that counts as one client, in bits; ``key`` is the
    secret with which the service hashes addresses.
    """
    if not isinstance(name, tuple):
        return Client(None, None)
    host, port = name[:2]
    if ":" not in host:
        return Client((host, port), hash_name(socket.inet_aton(host), key))
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed.startswith(_MAPPED):
        packed = packed[len(_MAPPED) :]
        host = socket.inet_ntop(socket.AF_INET, packed)
        return Client((host, port), hash_name(packed, key))
    rest = 128 - ipv6_prefix
    network = int.from_bytes(packed, "big") >> rest << rest
    return Client(tuple(name), hash_name(network.to_bytes(16, "big"), key))
