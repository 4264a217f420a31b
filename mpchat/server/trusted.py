"""The option ``trusted-proxies``: who is believed when it says whom it speaks for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from mpchat.websocket.client import Client

UNIX: Literal["unix"] = "unix"
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _parse(value: Any) -> Any:
    if value == UNIX:
        return UNIX
    network = _network(value) if isinstance(value, str) else None
    if network is None:
        text = "expected an address, a network such as 10.0.0.0/8 without bits behind its prefix, or unix"
        raise PydanticCustomError("proxy", text)
    return network


def _network(text: str) -> _Network | None:
    """Return the network that a text is, None if it is none; an address is one of its own."""
    # A scope means something on one host only.
    if "%" in text:
        return None
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        # Nobody has a mapped address: such clients count as IPv4.
        packed = network.network_address.packed[-4:]
        return ipaddress.IPv4Network((packed, network.prefixlen - _MAPPED.prefixlen))
    return network


def _show(entry: _Network | str) -> str:
    if isinstance(entry, str) or entry.prefixlen < entry.max_prefixlen:
        return str(entry)
    return str(entry.network_address)


TrustedProxy = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network | Literal["unix"],
    BeforeValidator(_parse, json_schema_input_type=str),
    PlainSerializer(_show, return_type=str, when_used="json"),
]
"""An entry of ``trusted-proxies``."""


class TrustedProxies:
    """Those that the option names."""

    def __init__(self, entries: Iterable[_Network | Literal["unix"]]) -> None:
        networks = list(entries)
        self._unix = UNIX in networks
        self._networks = [entry for entry in networks if not isinstance(entry, str)]

    def trusts(self, client: Client) -> bool:
        """Whether the other end of a socket is one of them."""
        if client.address is None:
            return self._unix
        # A scope says by which interface it came.
        return self.trusts_host(client.address[0].partition("%")[0])

    def trusts_host(self, host: str) -> bool:
        """Whether an address, as sockets write it, belongs to one of them."""
        address = ipaddress.ip_address(host)
        return any(address in network for network in self._networks)
