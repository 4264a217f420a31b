"""PROXY headers: what each says, in whatever pieces it comes, and what is none."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.server.proxy_header import (
    MAX_V1,
    MAX_V2,
    READERS,
    SIGNATURE,
    HeaderError,
    ProxyHeader,
    Source,
)

V4 = bytes([192, 0, 2, 1, 198, 51, 100, 1]) + struct.pack("!HH", 51234, 443)
V6 = (
    ipaddress.IPv6Address("2001:db8::1").packed
    + ipaddress.IPv6Address("2001:db8::2").packed
    + struct.pack("!HH", 51234, 443)
)
MAPPED = ipaddress.IPv6Address("::ffff:192.0.2.1").packed * 2 + struct.pack("!HH", 1, 2)
UNIX = b"/run/client".ljust(108, b"\0") + b"/run/own".ljust(108, b"\0")
TLV = b"\x02\0\x07example"
LOCAL, PROXY = 0x20, 0x21


def v2(command: int, family: int, payload: bytes, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, size) + payload


V1_HEADERS: list[tuple[bytes, Source]] = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 51234 443\r\n", ("192.0.2.1", 51234)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535)),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", ("0.0.0.0", 0)),
    (b"PROXY TCP6 2001:DB8:0::1 2001:db8::2 51234 443\r\n", ("2001:db8::1", 51234)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", ("192.0.2.1", 1)),
    (
        b"PROXY TCP6 %b %b 65535 65535\r\n" % ((b"ffff:" * 7 + b"ffff",) * 2),
        ("ffff:" * 7 + "ffff", 65535),
    ),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    (b"PROXY UNKNOWN " + b"\xff" * 91 + b"\r\n", None),
]
V2_HEADERS: list[tuple[bytes, Source]] = [
    (v2(PROXY, 0x11, V4), ("192.0.2.1", 51234)),
    (v2(PROXY, 0x12, V4), ("192.0.2.1", 51234)),
    (v2(PROXY, 0x11, V4 + TLV), ("192.0.2.1", 51234)),
    (v2(PROXY, 0x21, V6), ("2001:db8::1", 51234)),
    (v2(PROXY, 0x22, V6 + TLV), ("2001:db8::1", 51234)),
    (v2(PROXY, 0x21, MAPPED), ("192.0.2.1", 1)),
    (v2(PROXY, 0x31, UNIX), "unix"),
    (v2(PROXY, 0x32, UNIX + TLV), "unix"),
    (v2(PROXY, 0x00, b""), None),
    (v2(PROXY, 0x00, TLV), None),
    (v2(LOCAL, 0x00, b""), None),
    (v2(LOCAL, 0x11, V4), None),
    (v2(LOCAL, 0xFF, TLV), None),
    (v2(PROXY, 0x11, V4 + bytes(MAX_V2 - 16 - len(V4))), ("192.0.2.1", 51234)),
]
HEADERS = [
    *(("v1", data, source) for data, source in V1_HEADERS),
    *(("v2", data, source) for data, source in V2_HEADERS),
]
NONE = [
    ("v1", b"GET / HTTP/1.1\r\n"),
    ("v1", b"PROXY\r\n"),
    ("v1", b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
    ("v1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"),
    ("v1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"),
    ("v1", b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n"),
    ("v1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"),
    ("v1", b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"),
    ("v1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n"),
    ("v1", b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n"),
    ("v1", b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n"),
    ("v1", b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n"),
    ("v1", b"PROXY TCP4 192.0.2.1 example 1 2\r\n"),
    ("v1", b"PROXY TCP4 ::1 ::1 1 2\r\n"),
    ("v1", b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"),
    ("v1", b"PROXY TCP6 fe80::1%lo fe80::1 1 2\r\n"),
    ("v1", b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"),
    ("v1", b"PROXY UNKNOWNS\r\n"),
    ("v1", b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n"),
    ("v1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n".ljust(MAX_V1)),
    ("v1", V2_HEADERS[0][0]),
    ("v2", V1_HEADERS[0][0]),
    ("v2", b"GET / HTTP/1.1\r\n"),
    ("v2", v2(0x22, 0x11, V4)),
    ("v2", v2(0x11, 0x11, V4)),
    ("v2", v2(0x31, 0x11, V4)),
    ("v2", v2(PROXY, 0x10, V4)),
    ("v2", v2(PROXY, 0x01, V4)),
    ("v2", v2(PROXY, 0x13, V4)),
    ("v2", v2(PROXY, 0x41, UNIX)),
    ("v2", v2(PROXY, 0x11, V4[:-1])),
    ("v2", v2(PROXY, 0x21, V4)),
    ("v2", v2(PROXY, 0x31, UNIX[:-1])),
    ("v2", v2(PROXY, 0x11, V4, MAX_V2 - 16 + 1)),
    ("v2", v2(LOCAL, 0x00, b"", 0xFFFF)),
]


@pytest.mark.parametrize(("version", "data", "source"), HEADERS)
def test_a_header_is_read_whole_wherever_it_is_cut(
    version: str, data: bytes, source: Source
) -> None:
    read = READERS[version]
    assert [read(data[:size]) for size in range(len(data))] == [None] * len(data)
    for behind in (b"", b"GET / HTTP/1.1\r\n", data):
        assert read(bytearray(data + behind)) == ProxyHeader(len(data), source)


@pytest.mark.parametrize(("version", "data"), NONE)
def test_what_is_none_is_refused_in_whatever_pieces_it_comes(version: str, data: bytes) -> None:
    read = READERS[version]
    pieces = [data[:size] for size in range(len(data) + 1)]
    with pytest.raises(HeaderError):
        read(data)
    with pytest.raises(HeaderError):
        for piece in pieces:
            assert read(piece) is None


@pytest.mark.parametrize("version", READERS)
@pytest.mark.parametrize("sent", [b"GET", b"X", b"\r\n\r\n\r\n", b"\x16\x03\x01"])
def test_another_protocol_is_refused_by_its_first_bytes(version: str, sent: bytes) -> None:
    with pytest.raises(HeaderError):
        READERS[version](sent)


ADDRESSES = st.one_of(
    st.tuples(st.just(4), st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.just(6), st.ip_addresses(v=6), st.ip_addresses(v=6)),
)
PORTS = st.integers(0, 65535)


@given(ADDRESSES, PORTS, PORTS, st.binary(max_size=64))
def test_both_versions_say_the_same(
    addresses: tuple[int, ipaddress.IPv4Address, ipaddress.IPv4Address],
    port: int,
    own_port: int,
    tlvs: bytes,
) -> None:
    family, source, own = addresses
    line = f"PROXY TCP{family} {source} {own} {port} {own_port}\r\n".encode()
    packed = source.packed + own.packed + struct.pack("!HH", port, own_port)
    binary = v2(PROXY, 0x11 if family == 4 else 0x21, packed + tlvs)
    for version, data in (("v1", line), ("v2", binary)):
        header = READERS[version](data)
        assert header is not None
        assert header.size == len(data)
        assert isinstance(header.source, tuple)
        found = ipaddress.ip_address(header.source[0])
        assert found == (getattr(source, "ipv4_mapped", None) or source)
        assert header.source[1] == port


BEGINNINGS = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"])


@given(st.sampled_from(sorted(READERS)), BEGINNINGS, st.binary(max_size=200))
def test_any_bytes_have_one_meaning_that_does_not_depend_on_the_pieces(
    version: str, beginning: bytes, more: bytes
) -> None:
    read, data = READERS[version], beginning + more

    def meaning(pieces: list[bytes]) -> ProxyHeader | str | None:
        try:
            return next((found for piece in pieces if (found := read(piece)) is not None), None)
        except HeaderError:
            return "refused"

    slowly = meaning([data[:size] for size in range(len(data) + 1)])
    assert meaning([data]) == slowly
    if isinstance(slowly, ProxyHeader):
        assert slowly.size <= min(len(data), MAX_V1 if version == "v1" else MAX_V2)
