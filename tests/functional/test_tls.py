"""TLS on the service's own port: who speaks it is served as others are, by every worker."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client
from cryptography import x509
from websockets.asyncio.client import connect

from mpchat.testsuite.service import DEADLINE, Service, wait_until
from tests.functional.conftest import Serve
from tests.kit.certificates import PASSPHRASE, Certificates, PairFiles
from tests.kit.control import Control
from tests.kit.frames import frame
from tests.kit.secure import COMMAND, secured
from tests.kit.tls import TlsClient

pytestmark = pytest.mark.shared_service

SPOKEN = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}
VERSIONS = list(SPOKEN)
MIB = 1 << 20
NAMES = {
    "rsa.test": "rsa.test",
    "RSA.test": "rsa.test",
    "one.wild.test": "*.wild.test",
    "ed.test": "ed.test",
    # A star stands for one label, and the first certificate is for all others.
    "one.two.wild.test": "localhost",
    "wild.test": "localhost",
    "localhost": "localhost",
    "nobody.test": "localhost",
}


@pytest.fixture(scope="session")
def named(certificates: Certificates) -> list[dict[str, str]]:
    """Certificates for further names, of each kind of key."""
    pairs = [
        certificates.issue("rsa.test", kind="RSA"),
        certificates.issue("*.wild.test"),
        certificates.issue("ed.test", kind="Ed25519"),
    ]
    return [pair.options for pair in pairs]


@pytest.fixture
def service_command(service_command: list[str]) -> list[str]:
    return [*service_command, *COMMAND]


@pytest.fixture
def service_config_yaml(
    service_config_yaml: Any,
    certificates: Certificates,
    named: list[dict[str, str]],
    service_tmpdir: Path,
) -> Any:
    return secured(service_config_yaml, certificates, service_tmpdir, certificates=named)


def ask(
    port: int,
    context: ssl.SSLContext,
    path: str = "/who",
    session: ssl.SSLSession | None = None,
    before: bytes = b"",
) -> tuple[Any, ssl.SSLObject]:
    """Send one request, and return the JSON that answers it, with the object, whose session is whole."""
    with TlsClient(port, context, session=session, before=before) as client:
        client.shake()
        client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        head, _, body = client.receive_all().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert client.ended == "close_notify"
        return json.loads(body), client.tls


# Clients


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
async def test_messages_come_back(
    supervisor: Service, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = certificates.trusting(version=version)
    url = f"wss://localhost:{supervisor.port}/chat"
    async with connect(url, ssl=context, max_size=None) as chat:
        for message in ("", "hello", "ж" * 30_000, b"", bytes(range(256)) * 256, bytes(MIB)):
            await chat.send(message)
            assert await asyncio.wait_for(chat.recv(), DEADLINE) == message
        # Whatever lies between them is read from one record, or from several.
        for number in range(300):
            await chat.send(str(number))
        for number in range(300):
            assert await asyncio.wait_for(chat.recv(), DEADLINE) == str(number)
        spoken = chat.transport.get_extra_info("ssl_object").version()
        assert spoken == SPOKEN[version]
    assert chat.close_code == 1000


def test_messages_of_a_client_with_threads(supervisor: Service, certificates: Certificates) -> None:
    url = f"wss://localhost:{supervisor.port}/chat"
    with websockets.sync.client.connect(url, ssl=certificates.trusting()) as chat:
        for size in (0, 1, 32, 65_536, MIB):
            chat.send(bytes(size))
            assert chat.recv(DEADLINE) == bytes(size)


def test_requests_on_one_connection(supervisor: Service, certificates: Certificates) -> None:
    connection = http.client.HTTPSConnection(
        "localhost", supervisor.port, context=certificates.trusting(), timeout=DEADLINE
    )
    with closing(connection):
        for method, path, status in (
            ("GET", "/ping", 200),
            ("HEAD", "/ping", 200),
            ("GET", "/x", 404),
        ):
            connection.request(method, path)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status


def test_requests_and_frames_may_come_with_the_end_of_the_handshake(
    supervisor: Service, certificates: Certificates
) -> None:
    context = certificates.trusting(version=ssl.TLSVersion.TLSv1_3)
    request = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    with TlsClient(supervisor.port, context) as client:
        client.send_raw(client.step())
        client.feed()
        client.send_raw(client.step() + client.seal(3 * request))
        for _ in range(3):
            assert client.receive_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_records_of_a_byte_and_many_frames_in_a_record(
    supervisor: Service, certificates: Certificates
) -> None:
    with TlsClient(supervisor.port, certificates.trusting()) as client:
        client.open()
        data = frame(0x82, bytes(range(100)))
        client.send_raw(b"".join(client.seal(data[at : at + 1]) for at in range(len(data))))
        assert client.receive_frame() == (0x82, bytes(range(100)))
        client.send(b"".join(frame(0x81, str(number).encode()) for number in range(1000)))
        for number in range(1000):
            assert client.receive_frame() == (0x81, str(number).encode())


def test_the_handshake_may_come_byte_by_byte(
    supervisor: Service, certificates: Certificates
) -> None:
    for version in VERSIONS:
        with TlsClient(supervisor.port, certificates.trusting(version=version)) as client:
            client.shake(piece=1).send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.receive_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")


# What is agreed on


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), ([], None)],
)
def test_the_protocol_is_http_1_1(
    supervisor: Service, certificates: Certificates, offered: list[str], chosen: str | None
) -> None:
    context = certificates.trusting()
    context.set_alpn_protocols(offered)
    _who, tls = ask(supervisor.port, context)
    assert tls.selected_alpn_protocol() == chosen


@pytest.mark.covers("TlsOptions.certificates")
@pytest.mark.parametrize("name", NAMES)
def test_each_name_has_its_certificate(
    supervisor: Service, certificates: Certificates, name: str
) -> None:
    certificate = certificate_for(supervisor.port, certificates, name)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert NAMES[name] in names.get_values_for_type(x509.DNSName)


def certificate_for(port: int, certificates: Certificates, name: str) -> x509.Certificate:
    context = certificates.trusting()
    context.check_hostname = False
    with TlsClient(port, context, name=name) as client:
        der = client.shake().tls.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)


@pytest.mark.covers("TlsOptions.certificates")
def test_who_asks_for_no_name_gets_the_first(
    supervisor: Service, certificates: Certificates
) -> None:
    context = certificates.trusting()
    context.check_hostname = False
    with TlsClient(supervisor.port, context, name=None) as client:
        names = client.shake().tls.getpeercert()
        assert names is not None
        assert ("DNS", "localhost") in names["subjectAltName"]


@pytest.mark.parametrize(
    ("cipher", "is_taken"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", True),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", True),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
        ("ECDHE-ECDSA-AES256-SHA384", False),
        ("ECDHE-ECDSA-AES128-SHA", False),
        ("AES256-GCM-SHA384", False),
    ],
)
def test_ciphers_of_1_2_are_those_with_authentication(
    supervisor: Service, certificates: Certificates, cipher: str, is_taken: bool
) -> None:
    context = certificates.trusting(version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(cipher)
    with TlsClient(supervisor.port, context) as client:
        if is_taken:
            agreed = client.shake().tls.cipher()
            assert agreed is not None
            assert agreed[0] == cipher
        else:
            with pytest.raises(ssl.SSLError, match="SSLV3_ALERT_HANDSHAKE_FAILURE"):
                client.shake()


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_every_worker_resumes_what_another_one_began(
    supervisor: Service, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = certificates.trusting(version=version)
    who, tls = ask(supervisor.port, context)
    assert not tls.session_reused
    session = tls.session
    assert session is not None
    assert session.has_ticket
    resumed_by = set()

    def all_have() -> bool:
        found, tls = ask(supervisor.port, context, session=session)
        assert tls.session_reused
        resumed_by.add(found["pid"])
        return len(resumed_by) == 2

    wait_until(all_have, "resumption by both workers")
    assert who["pid"] in resumed_by


@pytest.mark.covers("TlsOptions.min-version", "TlsOptions.session-tickets")
def test_1_3_alone_and_no_tickets(
    serve: Serve, certificates: Certificates, named: list[dict[str, str]]
) -> None:
    changes = {
        "server.listener.tls.min-version": "1.3",
        "server.listener.tls.session-tickets": False,
    }
    with serve(changes) as service:
        with (
            TlsClient(
                service.port, certificates.trusting(version=ssl.TLSVersion.TLSv1_2)
            ) as client,
            pytest.raises(ssl.SSLError, match="TLSV1_ALERT_PROTOCOL_VERSION"),
        ):
            client.shake()
        context = certificates.trusting()
        _who, tls = ask(service.port, context)
        assert tls.version() == "TLSv1.3"
        assert tls.session is not None
        assert not tls.session.has_ticket


@pytest.mark.covers("TlsOptions.session-tickets")
def test_without_tickets_nothing_of_1_2_is_resumed(
    serve: Serve, certificates: Certificates
) -> None:
    with serve({"server.listener.tls.session-tickets": False}) as service:
        context = certificates.trusting(version=ssl.TLSVersion.TLSv1_2)
        _who, tls = ask(service.port, context)
        assert tls.session is not None
        assert not tls.session.has_ticket


@pytest.mark.parametrize("kind", ["rsa", "ed25519", "chained"])
def test_each_kind_of_key(
    serve: Serve, certificates: Certificates, service_config: Any, kind: str
) -> None:
    pair: PairFiles = getattr(certificates, kind)
    with serve(
        {f"server.listener.tls.{name}": value for name, value in pair.options.items()}
    ) as service:
        for version in VERSIONS:
            who, _tls = ask(service.port, certificates.trusting(version=version))
            assert who["certificate"] is None


@pytest.mark.covers("CertificateOptions.private-key-passphrase")
def test_a_key_under_a_passphrase(
    serve: Serve, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSPHRASE", PASSPHRASE)
    section = {**certificates.encrypted.options, "private-key-passphrase#env": "PASSPHRASE"}
    with serve({"server.listener.tls": section}) as service:
        ask(service.port, certificates.trusting())
        assert PASSPHRASE not in service.stderr()


@pytest.mark.covers("CertificateOptions.private-key-passphrase-name")
def test_a_passphrase_by_its_name_in_secdist(serve: Serve, certificates: Certificates) -> None:
    section = {**certificates.encrypted.options, "private-key-passphrase-name": "of-the-key"}
    changes: dict[str, Any] = {
        "server.listener.tls": section,
        "secdist": {},
        "default-secdist-provider": {"inline": {"passphrases": {"of-the-key": PASSPHRASE}}},
    }
    with serve(changes) as service:
        ask(service.port, certificates.trusting())
        assert PASSPHRASE not in service.stderr()


def test_the_workers_need_no_access_to_the_key(
    serve: Serve, certificates: Certificates, control: Control, tmp_path: Path
) -> None:
    files = certificates.issue()
    for path in (files.cert, files.key):
        path.rename(tmp_path / path.name)
    pair = PairFiles(tmp_path / files.cert.name, tmp_path / files.key.name)
    with serve({"server.listener.tls": pair.options}) as service:
        # One that is forked later has what the template has read.
        pair.key.unlink()
        pair.cert.unlink()
        old = control.ready()
        control.restart(slot=0)
        (new,) = control.ready() - old
        wait_until(
            lambda: ask(service.port, certificates.trusting())[0]["pid"] == new,
            "answer of the new worker",
        )
