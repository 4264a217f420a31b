"""Clients that get no TLS connection, and what they are told."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from tests.kit.certificates import Certificates, PairFiles
from tests.unit.server import virtual
from tests.unit.tls.layered import V12, V13, Connection, Rig, in_memory, serving, turns

OLD = "the client's TLS version is too old"
UNEXPECTED = "no TLS handshake: unexpected message"
BAD = "tls_bad_certificates"


async def refused(rig: Rig, data: bytes) -> Connection:
    one = rig.connect()
    one.comes(data)
    await turns()
    return one


@pytest.mark.parametrize(
    "line",
    [
        "GET / HTTP/1.1",
        "POST /x HTTP/1.0",
        "PUT / HTTP/1.1",
        "CONNECT a:1 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "PRI * HTTP/2.0",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2",
        "G",
        "GET",
    ],
)
def test_an_http_client_is_answered_by_http(certificates: Certificates, line: str) -> None:
    async def test() -> None:
        rig = Rig(serving(certificates.ec))
        one = await refused(rig, line.encode() + b"\r\n\r\n" if " " in line else line.encode())
        assert one.app.events == ["ended: not TLS", "made", "refuse plain"]
        assert one.app.transport is one.wire
        assert one.goes() == b""
        one.comes(b"the rest")
        assert one.app.received == b"the rest"
        one.lose()
        assert one.app.events[-1] == "lost"
        assert rig.counters.tls_not_tls == 1

    virtual.run(test())


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00",
        b"\x80\x2e\x01\x00\x02",
        b"\x15\x03\x01\x00\x02",
        b"get / ",
    ],
)
def test_others_are_closed_without_a_word(certificates: Certificates, data: bytes) -> None:
    async def test() -> None:
        rig = Rig(serving(certificates.ec))
        one = await refused(rig, data)
        assert (one.goes(), one.wire.is_closed, one.wire.is_aborted) == (b"", True, False)
        one.lose()
        assert one.app.events == ["ended: not TLS", "lost"]
        assert rig.counters.tls_not_tls == 1

    virtual.run(test())


def hello_of(version: bytes) -> bytes:
    """Return the ClientHello of a client that knows this version at most."""
    body = version + bytes(32) + b"\0" + b"\x00\x02\xc0\x2f" + b"\x01\x00"
    message = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + len(message).to_bytes(2) + message


@pytest.mark.parametrize(
    ("data", "alert", "reason"),
    [
        pytest.param(hello_of(b"\x03\x01"), 70, OLD, id="TLS 1.0"),
        pytest.param(hello_of(b"\x03\x02"), 70, OLD, id="TLS 1.1"),
        pytest.param(
            b"\x16\x03\x01\xff\xff", 22, "no TLS handshake: packet length too long", id="too long"
        ),
        pytest.param(
            b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
            10,
            "no TLS handshake: unexpected message",
            id="message",
        ),
        pytest.param(b"\x16\x03\x01\x00\x05hello", 10, UNEXPECTED, id="bytes"),
    ],
)
def test_a_wrong_beginning_gets_an_alert(
    certificates: Certificates, data: bytes, alert: int, reason: str
) -> None:
    async def test() -> None:
        rig = Rig(serving(certificates.ec))
        one = await refused(rig, data)
        sent = one.goes()
        assert (len(sent), sent[0], sent[-1]) == (7, 0x15, alert)
        assert one.app.events == [f"ended: {reason}"]
        # The client may read it: our side has ended, and what it still sends is dropped.
        assert (one.wire.has_eof, one.wire.is_closed, one.wire.is_reading) == (True, False, True)
        one.comes(b"the rest")
        assert not one.layer.eof_received()
        one.lose()
        assert one.app.events == [f"ended: {reason}", "lost"]
        assert rig.counters.tls_handshaking == 0

    virtual.run(test())


@in_memory
async def test_a_refused_client_that_stays_is_cut_off(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    one = await refused(rig, hello_of(b"\x03\x01"))
    await asyncio.sleep(1.9)
    assert not one.wire.is_closed
    await asyncio.sleep(0.3)
    assert one.wire.is_aborted
    assert not rig.limits


@in_memory
async def test_no_common_cipher(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.rsa))
    context = certificates.trusting(version=V12)
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    one = await rig.shake(context)
    assert one.app.events == ["ended: no cipher in common"]
    assert one.client.error is not None
    assert rig.counters.tls_no_common_offer == 1


@pytest.mark.parametrize("version", [V12, V13])
def test_a_client_that_does_not_trust_us_is_told_apart(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    async def test() -> None:
        rig = Rig(serving(certificates.ec))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = context.maximum_version = version
        one = await rig.shake(context)
        assert one.app.events == ["ended: the client's alert: unknown ca"]
        assert rig.counters.tls_alerts == 1

    virtual.run(test())


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize(
    ("which", "reason", "counter"),
    [
        (None, "no client certificate", BAD),
        (
            "strange_client",
            "client certificate: unable to get local issuer certificate",
            "tls_bad_certificates",
        ),
        ("expired_client", "client certificate: certificate has expired", BAD),
        ("huge_client", "a message of the TLS handshake is too long", "tls_other_failures"),
    ],
)
def test_client_certificates(
    certificates: Certificates,
    version: ssl.TLSVersion,
    which: str | None,
    reason: str,
    counter: str,
) -> None:
    async def test() -> None:
        rig = Rig(serving(certificates.ec, certificates.ca))
        pair: PairFiles | None = which and getattr(certificates, which)
        one = await rig.shake(certificates.trusting(pair, version))
        assert one.app.events == [f"ended: {reason}"]
        assert one.client.error is not None
        # On TLS 1.3 the client believes itself connected before.
        assert one.client.is_shaken is (version is V13)
        assert getattr(rig.counters, counter) == 1

    virtual.run(test())


@pytest.mark.parametrize("version", [V12, V13])
def test_a_good_client_certificate_is_known_above(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    async def test() -> None:
        rig = Rig(serving(certificates.ec, certificates.ca))
        one = await rig.shake(certificates.trusting(certificates.client, version))
        assert one.app.events == ["made"]
        subject = one.layer.get_extra_info("peercert")["subject"]
        assert (("commonName", "a client"),) in subject
        assert one.layer.get_extra_info("ssl_object").version() == one.client.tls.version()
        assert one.layer.get_extra_info("peername") == ("192.0.2.1", 50000)
        one.layer.close()
        assert one.layer.get_extra_info("peercert") is None

    virtual.run(test())


@in_memory
async def test_a_handshake_has_a_limit_of_bytes(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec), max_tls_handshake_bytes=100)
    one = await rig.shake(certificates.trusting())
    assert one.app.events == ["ended: a TLS handshake of too many bytes"]
    assert (rig.counters.tls_other_failures, rig.counters.tls_handshaking) == (1, 0)
