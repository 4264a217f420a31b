"""What a ClientHello asks for, before OpenSSL sees it."""

from __future__ import annotations

import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.tls.hello import TooManyPieces, asks_for_finite_field, read_hello
from tests.kit.certificates import Certificates
from tests.unit.server import virtual
from tests.unit.tls.layered import Client, Rig, serving, turns

P256, X25519, MLKEM, GREASE, FFDHE, FFDHE_8192 = 0x17, 0x1D, 0x11EC, 0x0A0A, 0x100, 0x104


def records(message: bytes, *sizes: int) -> bytes:
    """Return a message in records: of these sizes, and one with the rest."""
    data, at = b"", 0
    for size in (*sizes, len(message) - sum(sizes)):
        data += b"\x16\x03\x01" + size.to_bytes(2) + message[at : at + size]
        at += size
    return data


def extension(kind: int, content: bytes) -> bytes:
    return struct.pack("!HH", kind, len(content)) + content


def hello(
    groups: list[int], shares: list[int], versions: tuple[int, ...] = (0x0304, 0x0303)
) -> bytes:
    named = b"".join(group.to_bytes(2) for group in groups)
    # A point of X25519, and nothing that any other group would take.
    keys = b"".join(extension(share, b"\x09" + bytes(31)) for share in shares)
    offered = b"".join(version.to_bytes(2) for version in versions)
    extensions = (
        extension(10, len(named).to_bytes(2) + named)
        + extension(13, b"\x00\x02\x04\x03")
        + extension(43, bytes([len(offered)]) + offered)
        + extension(51, len(keys).to_bytes(2) + keys)
    )
    body = b"\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += len(extensions).to_bytes(2) + extensions
    return b"\x01" + len(body).to_bytes(3) + body


def test_a_clients_own_is_read(certificates: Certificates) -> None:
    data = Client(certificates.trusting()).take()
    assert read_hello(data) == data[5:]
    assert not asks_for_finite_field(data[5:])
    assert read_hello(data + b"what follows") == data[5:]
    assert all(read_hello(data[:end]) is None for end in range(len(data)))


def test_it_may_come_in_some_records() -> None:
    message = hello([X25519], [X25519])
    for sizes in ((1,), (3, 1), (10,) * 5, (1,) * 15):
        data = records(message, *sizes)
        assert read_hello(data) == message
        assert read_hello(data[:-1]) is None
    with pytest.raises(TooManyPieces):
        read_hello(records(message, *(1,) * 16))


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x16\x03\x01\x00\x01\x01\x17\x03\x01\x00\x01",
    ],
    ids=["empty", "too long a record", "another message", "too long", "another type"],
)
def test_what_is_wrong_is_for_openssl(data: bytes) -> None:
    assert read_hello(data) == b""


@pytest.mark.parametrize(
    ("groups", "shares", "expected"),
    [
        ([X25519, P256, FFDHE], [X25519], False),
        ([FFDHE, X25519], [X25519], False),
        ([X25519, FFDHE], [X25519, FFDHE], False),
        ([X25519, FFDHE], [FFDHE, X25519], True),
        ([FFDHE_8192], [FFDHE_8192], True),
        ([FFDHE, X25519], [], False),
        ([FFDHE], [], True),
        ([FFDHE], [X25519], False),
        # Unknown to OpenSSL 3.0.
        ([MLKEM, X25519, FFDHE], [MLKEM], False),
        ([MLKEM, FFDHE], [MLKEM], True),
        ([MLKEM, FFDHE], [MLKEM, FFDHE], True),
        ([GREASE, X25519, FFDHE], [GREASE, FFDHE], True),
        ([], [], False),
    ],
)
def test_what_openssl_would_choose(groups: list[int], shares: list[int], expected: bool) -> None:
    assert asks_for_finite_field(hello(groups, shares)) is expected
    # TLS 1.2 has other ways to agree on a group, which need parameters that nobody sets.
    assert not asks_for_finite_field(hello(groups, shares, (0x0303,)))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    assert asks_for_finite_field(data) in {True, False}
    read_hello(data)


@given(st.data())
def test_no_cut_or_flip_is_an_error(data: st.DataObject) -> None:
    message = bytearray(hello([X25519, FFDHE], [X25519, FFDHE]))
    for _ in range(data.draw(st.integers(0, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    asks_for_finite_field(bytes(message[: data.draw(st.integers(0, len(message)))]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (records(hello([FFDHE], [FFDHE])), "the client prefers finite-field key exchange"),
        (records(hello([FFDHE], [FFDHE]), 7, 50), "the client prefers finite-field key exchange"),
        (records(hello([X25519], [X25519]), *(1,) * 16), "a ClientHello in too many records"),
    ],
)
def test_it_is_refused_with_an_alert(certificates: Certificates, data: bytes, reason: str) -> None:
    async def test() -> None:
        rig = Rig(serving(certificates.ec))
        one = rig.connect()
        one.comes(data)
        await turns()
        assert one.app.events == [f"ended: {reason}"]
        assert one.goes() == b"\x15\x03\x03\x00\x02\x02\x28"
        assert (one.wire.has_eof, one.wire.is_reading) == (True, True)
        assert rig.counters.tls_handshaking == 0

    virtual.run(test())


def answer_of(certificates: Certificates, message: bytes) -> bytes:
    """Return what OpenSSL answers; it has to be content with the ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = serving(certificates.ec).wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(records(message))
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    "groups", [(X25519, FFDHE), (FFDHE, X25519), (FFDHE, P256), (FFDHE,), (GREASE, FFDHE), (P256,)]
)
def test_openssl_asks_for_the_group_that_we_think(
    certificates: Certificates, groups: tuple[int, ...]
) -> None:
    message = hello(list(groups), [])
    # A HelloRetryRequest names it.
    _before, found, wanted = answer_of(certificates, message).partition(b"\x00\x33\x00\x02")
    assert found
    assert asks_for_finite_field(message) is (wanted[:2] == FFDHE.to_bytes(2))


def test_openssl_takes_the_key_share_that_we_think(certificates: Certificates) -> None:
    groups = [FFDHE, X25519]
    message = hello(groups, [X25519, FFDHE])
    assert not asks_for_finite_field(message)
    assert answer_of(certificates, message)
    message = hello(groups, [FFDHE, X25519])
    assert asks_for_finite_field(message)
    with pytest.raises(ssl.SSLError, match="(?i)bad|invalid|illegal|key share"):
        answer_of(certificates, message)
