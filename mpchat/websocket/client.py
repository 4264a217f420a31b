"""Who a connection or request is from: one value for handlers, limits and logs.

It is made before any limit is applied to its address, once for each socket; where a proxy names its
client with each request, once more for that. An IPv4 client on a dual-stack socket has an IPv4 address
everywhere. Limits count an IPv6 network as one client, because one subscriber usually has a whole /64 to
take addresses from.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Any

from mpchat.scoreboard.hashed import hash_name

_MAPPED = bytes(10) + b"\xff\xff"
"""The prefix of an IPv4 address that is written as IPv6 (RFC 4291, 2.5.5.2)."""
_IP = re.compile("[0-9A-Fa-f:.]+")


@dataclass(frozen=True, slots=True)
class Client:
    """The other end of a socket, or who a trusted proxy says it speaks for.

    Attributes:
        address: ``(host, port)`` for IPv4, ``(host, port, flowinfo, scope_id)`` for IPv6, as sockets
            have them; None on a Unix socket. A proxy may not name the port, which is then 0.
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
        if not port:
            return str(host)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def client_of(name: Any, ipv6_prefix: int, key: bytes) -> Client:
    """Return the client with this name, which is what ``getpeername`` returns, or host and port.

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
        return Client((show_host(packed), port), hash_name(packed[len(_MAPPED) :], key))
    rest = 128 - ipv6_prefix
    network = int.from_bytes(packed, "big") >> rest << rest
    address = tuple(name) if len(name) == 4 else (host, port, 0, 0)
    return Client(address, hash_name(network.to_bytes(16, "big"), key))


def show_host(packed: bytes) -> str:
    """Return an address as sockets write it, a mapped IPv4 address as IPv4."""
    if packed.startswith(_MAPPED):
        packed = packed[len(_MAPPED) :]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def read_host(text: str) -> str | None:
    """Return the address that a text is, as sockets write it, a mapped one as IPv4; None if it is none.

    A name is none, nor is an address with a scope, which means something on one host only.
    """
    if _IP.fullmatch(text) is None:
        return None
    try:
        return show_host(socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text))
    except OSError:
        return None
