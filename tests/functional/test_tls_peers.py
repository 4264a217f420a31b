"""TLS with client certificates, behind proxies that say who their clients are, and on a Unix socket."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidMessage
from websockets.sync.client import connect as connect_in_thread

from mpchat.server.proxy_header import SIGNATURE
from mpchat.testsuite.service import DEADLINE, Service, wait_until
from tests.functional.conftest import Serve
from tests.kit.certificates import Certificates, PairFiles
from tests.kit.control import Control
from tests.kit.secure import COMMAND, secured
from tests.kit.tls import TlsClient

pytestmark = pytest.mark.shared_service

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
CLIENT = "192.0.2.1"
V1 = f"PROXY TCP4 {CLIENT} 198.51.100.1 51234 443\r\n".encode()
V2 = SIGNATURE + struct.pack(
    "!BBH4s4sHH",
    0x21,
    0x11,
    12,
    socket.inet_aton(CLIENT),
    socket.inet_aton("198.51.100.1"),
    51234,
    443,
)


@pytest.fixture
def service_command(service_command: list[str]) -> list[str]:
    return [*service_command, *COMMAND]


@pytest.fixture
def service_config_yaml(
    service_config_yaml: Any, certificates: Certificates, service_tmpdir: Path
) -> Any:
    return secured(service_config_yaml, certificates, service_tmpdir, ca=[str(certificates.ca)])


def ask(client: TlsClient) -> Any:
    """Return what the service knows of a client that is not greeted yet."""
    client.shake()
    client.send(b"GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    head, _, body = client.receive_all().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return json.loads(body)


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    found: ssl.TLSVersion = request.param
    return found


@pytest.mark.covers("TlsOptions.ca")
def test_a_handler_knows_the_certificate_of_its_client(
    supervisor: Service, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = certificates.trusting(certificates.client, version)
    with TlsClient(supervisor.port, context) as client:
        certificate = ask(client)["certificate"]
        assert [["commonName", "a client"]] in certificate["subject"]
        assert certificate["subjectAltName"] == [["DNS", "client.test"]]
    with TlsClient(supervisor.port, context, session=client.tls.session) as again:
        assert ask(again)["certificate"] == certificate
        assert again.tls.session_reused


@pytest.mark.parametrize(
    ("kind", "alert", "text"),
    [
        (None, "CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE", "no client certificate"),
        (
            "strange_client",
            "UNKNOWN_CA",
            "client certificate: unable to get local issuer certificate",
        ),
        ("expired_client", "CERTIFICATE_EXPIRED", "client certificate: certificate has expired"),
        ("huge_client", "ILLEGAL_PARAMETER", "a message of the TLS handshake is too long"),
    ],
    ids=["none", "strange", "expired", "huge"],
)
def test_who_has_no_good_certificate_is_refused(
    supervisor: Service,
    certificates: Certificates,
    control: Control,
    version: ssl.TLSVersion,
    kind: str | None,
    alert: str,
    text: str,
) -> None:
    pair: PairFiles | None = getattr(certificates, kind) if kind else None
    context = certificates.trusting(pair, version)
    with (
        TlsClient(supervisor.port, context) as client,
        pytest.raises((ssl.SSLError, EOFError, ConnectionError)) as refused,
    ):
        # With TLS 1.3 a client takes itself for connected before it is refused.
        client.shake().send(b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n")
        client.receive(1)
    if isinstance(refused.value, ssl.SSLError):
        assert any(name in str(refused.value.reason) for name in alert.split("|"))
    wait_until(lambda: control.totals()["sockets"] == 0, "end of the connection")
    wait_until(lambda: f"closed before HTTP: {text}, from" in supervisor.stderr(), "line of it")
    assert "GET /who" not in supervisor.stderr()
    assert "Traceback" not in supervisor.stderr()


async def test_websockets_with_client_certificates(
    supervisor: Service, certificates: Certificates
) -> None:
    url = f"wss://localhost:{supervisor.port}/chat"
    good = certificates.trusting(certificates.client)
    async with connect(url, ssl=good) as chat:
        await chat.send("hello")
        assert await chat.recv() == "hello"
    with connect_in_thread(url, ssl=good) as by_thread:
        by_thread.send("hello")
        assert by_thread.recv(DEADLINE) == "hello"
    with pytest.raises((ssl.SSLError, ConnectionClosed, OSError, EOFError, InvalidMessage)):
        async with connect(url, ssl=certificates.trusting()):
            pass


@pytest.mark.parametrize(("protocol", "header"), [("v1", V1), ("v2", V2)])
def test_a_proxy_says_who_the_client_is_before_tls_begins(
    serve: Serve, certificates: Certificates, control: Control, protocol: str, header: bytes
) -> None:
    changes = {
        "server.listener.proxy-protocol": protocol,
        "server.listener.trusted-proxies": ["127.0.0.0/8"],
    }
    context = certificates.trusting(certificates.client)
    with serve(changes) as service:
        with TlsClient(service.port, context, before=header) as client:
            assert ask(client)["address"] == [CLIENT, 51234]
        # In one packet with the hello, and in pieces.
        with TlsClient(service.port, context) as client:
            client.send_raw(header + client.step())
            assert ask(client)["address"] == [CLIENT, 51234]
        with TlsClient(service.port, context) as client:
            client.send_raw(header, 1)
            client.shake(piece=1)
            assert ask(client)["address"] == [CLIENT, 51234]
        wait_until(lambda: f"GET /who 200 from {CLIENT}:51234" in service.stderr(), "line with it")
        # TLS without a header is no header.
        with (
            TlsClient(service.port, context) as client,
            pytest.raises((ssl.SSLError, EOFError, ConnectionError)),
        ):
            client.shake()
        # A header within TLS is no request.
        with TlsClient(service.port, context, before=header) as client:
            client.shake().send(header)
            assert client.receive_all().startswith(b"HTTP/1.1 400 ")
        wait_until(lambda: control.totals()["sockets"] == 0, "end of the connections")


async def test_a_unix_socket(
    serve: Serve, certificates: Certificates, service_tmpdir: Path
) -> None:
    path = service_tmpdir / "secure.sock"
    changes: dict[str, Any] = {
        "server.listener.port": None,
        "server.listener.unix-socket": str(path),
    }
    with serve(changes):
        opening = unix_connect(
            str(path), "wss://localhost/chat", ssl=certificates.trusting(certificates.client)
        )
        async with opening as chat:
            await chat.send("hello")
            assert await chat.recv() == "hello"
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(path))
            plain.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b"".join(iter(lambda: plain.recv(65_536), b""))
            assert answer.startswith(b"HTTP/1.1 400 ")
