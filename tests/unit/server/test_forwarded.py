"""Whom a request is from, by the headers of HTTP proxies: nobody talks himself into another address."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mpchat.server.forwarded import MAX_HOPS, Forwarding
from mpchat.server.trusted import TrustedProxies, TrustedProxy
from mpchat.websocket.client import Client, client_of

PROXY, OTHER_PROXY, STRANGER = "10.0.0.1", "10.255.0.2", "198.51.100.9"
TRUSTED = ["10.0.0.0/8", "2001:db8:ffff::/48", "unix"]
_ENTRIES: TypeAdapter[Any] = TypeAdapter(TrustedProxy)


def trusted(*entries: str) -> TrustedProxies:
    return TrustedProxies(_ENTRIES.validate_python(entry) for entry in entries)


def client(host: str, port: int = 4000) -> Client:
    return client_of((host, port), 64, bytes(32))


def found(header: str, *lines: str, peer: Client | None = None) -> str:
    """Return whom a request with these lines is from, if it came from a trusted proxy."""
    forwarding = Forwarding(header, trusted(*TRUSTED), lambda name: client_of(name, 64, bytes(32)))
    peer = client(PROXY) if peer is None else peer
    return str(forwarding.client(peer, {header: list(lines)} if lines else {"host": ["x"]}))


PEER = f"{PROXY}:4000"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], PEER),
        ([""], PEER),
        ([" , ,"], PEER),
        (["192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1:51234"], "192.0.2.1:51234"),
        (["2001:db8::1"], "2001:db8::1"),
        (["2001:DB8:0::1"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["[2001:db8::1]:51234"], "[2001:db8::1]:51234"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        # What the client has sent stands to the left of what a proxy adds.
        (["203.0.113.7, 192.0.2.1"], "192.0.2.1"),
        (["203.0.113.7, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (["203.0.113.7,192.0.2.1 ,\t10.0.0.2, 2001:db8:ffff::1, ::ffff:10.1.1.1"], "192.0.2.1"),
        (["10.0.0.3, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        # Lines are one list.
        (["203.0.113.7", "192.0.2.1"], "192.0.2.1"),
        (["203.0.113.7", "192.0.2.1, 10.0.0.2", "10.0.0.3"], "192.0.2.1"),
        (["192.0.2.1,", ", 10.0.0.2", ""], "192.0.2.1"),
        # All of them are trusted.
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # Nothing left of what is no address is believed.
        (["203.0.113.7, unknown"], PEER),
        (["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
        (["203.0.113.7, _hidden, 10.0.0.2"], "10.0.0.2"),
        (["203.0.113.7, example.com"], PEER),
        (["203.0.113.7, 192.0.2.300"], PEER),
        (["203.0.113.7, 0x7f000001"], PEER),
        (["203.0.113.7, 192.0.2.1:65536"], PEER),
        (["203.0.113.7, 192.0.2.1:"], PEER),
        (["203.0.113.7, fe80::1%eth0"], PEER),
        (["203.0.113.7, [192.0.2.1"], PEER),
        (['203.0.113.7, "192.0.2.1"'], PEER),
        (["203.0.113.7, for=192.0.2.1"], PEER),
    ],
)
def test_x_forwarded_for(lines: list[str], expected: str) -> None:
    assert found("x-forwarded-for", *lines) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], PEER),
        ([""], PEER),
        (["for=192.0.2.1"], "192.0.2.1"),
        (['For="192.0.2.1:51234"'], "192.0.2.1:51234"),
        (['for="[2001:db8::1]"'], "2001:db8::1"),
        (['for="[2001:db8:cafe::17]:4711"'], "[2001:db8:cafe::17]:4711"),
        (['for="192.0.2.1:_port"'], "192.0.2.1"),
        (['for="192\\.0.2\\.1"'], "192.0.2.1"),
        (["for=192.0.2.1;proto=http;by=203.0.113.43"], "192.0.2.1"),
        (['by=203.0.113.43 ; proto=https;; host="a,b;for=1.1.1.1" ; for=192.0.2.1'], "192.0.2.1"),
        (["for=203.0.113.7, for=192.0.2.1"], "192.0.2.1"),
        (["for=203.0.113.7, for=192.0.2.1;x=1, for=10.0.0.2"], "192.0.2.1"),
        (["for=203.0.113.7", "for=192.0.2.1", 'for="[2001:db8:ffff::1]"'], "192.0.2.1"),
        (["for=10.0.0.3,, for=10.0.0.2"], "10.0.0.3"),
        (["for=203.0.113.7, for=unknown"], PEER),
        (["for=203.0.113.7, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (['for=203.0.113.7, for="_SEVKISEK:80", for=10.0.0.2'], "10.0.0.2"),
        (["for=203.0.113.7, by=10.0.0.2"], PEER),
        (["for=203.0.113.7, for=192.0.2.1;for=192.0.2.2"], PEER),
        (["for=203.0.113.7, 192.0.2.1"], PEER),
        (["for=203.0.113.7, for=192.0.2.1:80"], PEER),
        (["for=203.0.113.7, for=[2001:db8::1]"], PEER),
        (["for=203.0.113.7, for = 192.0.2.1"], PEER),
        (['for=203.0.113.7, for="192.0.2.1'], PEER),
        (['for="203.0.113.7, for=192.0.2.1'], "192.0.2.1"),
        (['for="203.0.113.7', 'x", for="192.0.2.1"'], "192.0.2.1"),
    ],
)
def test_forwarded(lines: list[str], expected: str) -> None:
    assert found("forwarded", *lines) == expected


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_only_trusted_ones_are_believed(header: str) -> None:
    value = "192.0.2.1" if header == "x-forwarded-for" else "for=192.0.2.1"
    for host in (PROXY, OTHER_PROXY, "::ffff:10.0.0.1", "2001:db8:ffff::7"):
        assert found(header, value, peer=client(host)) == "192.0.2.1"
    assert found(header, value, peer=Client(None, None)) == "192.0.2.1"
    for host in (STRANGER, "::ffff:198.51.100.9", "2001:db8::1", "fe80::1%lo"):
        assert found(header, value, peer=client(host)) == str(client(host))
    nobody = Forwarding(header, trusted(PROXY), lambda name: client(*name))
    assert nobody.client(Client(None, None), {header: [value]}) == Client(None, None)


def test_the_other_header_is_not_read() -> None:
    forwarding = Forwarding("x-forwarded-for", trusted(PROXY), lambda name: client(*name))
    assert forwarding.client(client(PROXY), {"forwarded": ["for=192.0.2.1"]}) == client(PROXY)


@pytest.mark.parametrize(
    ("header", "element"), [("x-forwarded-for", "{}"), ("forwarded", "for={}")]
)
def test_a_list_longer_than_any_chain_of_proxies_is_not_read_to_its_end(
    header: str, element: str
) -> None:
    chain = ", ".join(element.format("10.0.0.2") for _ in range(MAX_HOPS))
    assert found(header, f"{element.format('192.0.2.1')}, {chain}") == "10.0.0.2"
    lines = [element.format("10.0.0.2")] * MAX_HOPS
    assert found(header, element.format("192.0.2.1"), *lines) == "10.0.0.2"


# What a header line may contain, with what matters in these lists more often.
_CHARACTERS = st.one_of(
    st.sampled_from(list(',;="\\[]:. \t_for1')),
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"]),
)
SENT = st.lists(st.text(_CHARACTERS, max_size=60), max_size=3)
CLIENTS = st.ip_addresses().filter(
    lambda address: not trusted(*TRUSTED).trusts(client(str(address)))
)


@given(SENT, CLIENTS, st.integers(1, 65535), st.booleans(), st.booleans())
def test_no_line_that_a_client_sends_changes_who_it_is(
    sent: list[str],
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    port: int,
    same_line: bool,
    with_port: bool,
) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    node = f"{host}:{port}" if with_port else host
    expected = str(client(str(address), port if with_port else 0))
    for header, added in (
        ("x-forwarded-for", [node, "10.0.0.2"]),
        ("forwarded", [f'for="{node}";host="a,b";proto=https', "by=_x;for=10.0.0.2"]),
    ):
        lines = [*sent]
        for element in added:
            if same_line and lines:
                lines[-1] += f", {element}"
            else:
                lines.append(element)
        assert found(header, *lines) == expected
