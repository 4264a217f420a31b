"""Who is at the other end of a socket, as handlers, limits and logs see it."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.scoreboard.hashed import hash_name
from mpchat.websocket.client import Client, client_of

KEY = bytes(range(32))
PORTS = st.integers(1, 65535)
V4, V6 = st.ip_addresses(v=4), st.ip_addresses(v=6)
PREFIXES = st.integers(1, 128)


@given(V4, PORTS, PREFIXES)
def test_an_ipv4_client_is_the_same_on_both_kinds_of_socket(
    address: ipaddress.IPv4Address, port: int, prefix: int
) -> None:
    own = client_of((str(address), port), prefix, KEY)
    mapped = client_of((f"::ffff:{address}", port, 0, 0), prefix, KEY)
    assert own == mapped == Client((str(address), port), hash_name(address.packed, KEY))
    assert str(own) == f"{address}:{port}"


@given(V6, V6, PORTS, PREFIXES)
def test_ipv6_addresses_have_one_hash_in_one_network(
    one: ipaddress.IPv6Address, other: ipaddress.IPv6Address, port: int, prefix: int
) -> None:
    if one.ipv4_mapped or other.ipv4_mapped:
        return
    first, second = (client_of((str(address), port, 0, 0), prefix, KEY) for address in (one, other))
    network = ipaddress.IPv6Network((one, prefix), strict=False)
    assert (first.hashed == second.hashed) == (other in network)
    assert first.address == (str(one), port, 0, 0)
    assert str(first) == f"[{one}]:{port}"


def test_a_scope_belongs_to_the_address_and_not_to_what_is_counted() -> None:
    client = client_of(("fe80::1%lo", 7, 0, 1), 64, KEY)
    assert client.address == ("fe80::1%lo", 7, 0, 1)
    assert client.hashed == client_of(("fe80::2", 8, 0, 2), 64, KEY).hashed


def test_a_client_whose_port_nobody_knows_is_shown_without_one() -> None:
    assert str(client_of(("192.0.2.1", 0), 64, KEY)) == "192.0.2.1"
    client = client_of(("2001:db8::1", 0), 64, KEY)
    assert (client.address, str(client)) == (("2001:db8::1", 0, 0, 0), "2001:db8::1")


@pytest.mark.parametrize("name", ["", None, "/run/client.sock", b"\0abstract"])
def test_a_unix_socket_has_no_address(name: object) -> None:
    client = client_of(name, 64, KEY)
    assert (client.address, client.hashed, str(client)) == (None, None, "unix socket")
