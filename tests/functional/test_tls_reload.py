"""Certificates that change while clients count: what is refused, told, served, and kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from mpchat.testsuite.service import Service, wait_until
from tests.functional.conftest import Serve
from tests.kit.certificates import PASSPHRASE, Certificates, PairFiles
from tests.kit.control import Control
from tests.kit.waiting import eventually

pytestmark = pytest.mark.shared_service

WORKERS = 4
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
FAILED = "the last reload failed"
REQUEST = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Serving:
    """A service that speaks TLS, and the files that it reads its certificate from."""

    def __init__(
        self, service: Service, control: Control, files: PairFiles, certificates: Certificates
    ) -> None:
        self.service = service
        self.control = control
        self.files = files
        self.context = certificates.trusting()

    def put(self, pair: PairFiles) -> None:
        """Put a pair where the service looks for its own."""
        self.put_content(pair.cert.read_bytes(), pair.key.read_bytes())

    def put_content(self, cert: bytes | None, key: bytes | None) -> None:
        for path, content in ((self.files.cert, cert), (self.files.key, key)):
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)

    def reload(self) -> str:
        """Reload, and return the status line."""
        return self.service.reload()

    def is_taken(self) -> bool:
        """Reload, and return whether all workers have another generation."""
        return FAILED not in self.reload()

    @property
    def generation(self) -> int:
        number: int = self.control.status()["generation"]
        return number

    @contextlib.contextmanager
    def connected(
        self,
        version: ssl.TLSVersion | None = None,
        session: ssl.SSLSession | None = None,
    ) -> Iterator[ssl.SSLSocket]:
        """Open a connection that has asked for something: its tickets have come then."""
        context = self.context
        context.maximum_version = version or ssl.TLSVersion.MAXIMUM_SUPPORTED
        with (
            socket.create_connection(("127.0.0.1", self.service.port), 30) as raw,
            context.wrap_socket(raw, server_hostname="localhost", session=session) as tls,
        ):
            tls.sendall(REQUEST)
            assert tls.recv(1000).startswith(b"HTTP/1.1 200 ")
            yield tls

    def served(self) -> bytes:
        """Return the certificate that a new client gets."""
        with self.connected() as tls:
            return certificate_of(tls)

    def served_by_all(self) -> set[bytes]:
        """Return the certificates that new clients of all workers get."""
        found = set()
        with contextlib.ExitStack() as stack:
            for _ in range(50 * WORKERS):
                found.add(certificate_of(stack.enter_context(self.connected())))
                if all(worker["sockets"] for worker in self.control.workers()):
                    return found
        raise AssertionError(f"some workers took no clients: {self.control.workers()}")

    def chat(self) -> connect:
        return connect(f"wss://localhost:{self.service.port}/chat", ssl=self.context)


def certificate_of(tls: ssl.SSLSocket) -> bytes:
    der = tls.getpeercert(binary_form=True)
    assert der is not None
    return der


def der_of(pair: PairFiles) -> bytes:
    """Return the certificate of a pair, without its chain."""
    pem = pair.cert.read_text()
    end = "-----END CERTIFICATE-----\n"
    return ssl.PEM_cert_to_DER_cert(pem[: pem.index(end) + len(end)])


@pytest.fixture
def tls(
    serve: Serve, service_tmpdir: Path, control: Control, certificates: Certificates
) -> Iterator[Serving]:
    """Return the service of this module, which serves ``certificates.ec``."""
    files = PairFiles(service_tmpdir / "serving.pem", service_tmpdir / "serving.key")
    files.cert.write_bytes(certificates.ec.cert.read_bytes())
    files.key.write_bytes(certificates.ec.key.read_bytes())
    with serve({"server.listener.tls": files.options}) as service:
        serving = Serving(service, control, files, certificates)
        assert serving.served() == der_of(certificates.ec)
        yield serving


Content = tuple[bytes | None, bytes | None]


def of(pair: PairFiles) -> Content:
    return pair.cert.read_bytes(), pair.key.read_bytes()


BAD: dict[str, tuple[Callable[[Certificates], Content], str]] = {
    "expired": (lambda made: of(made.expired), "serving.pem: certificate 1 ("),
    "not valid yet": (lambda made: of(made.early), "is not valid before "),
    "another key": (
        lambda made: of(made.mismatched),
        "serving.key: the key is not that of the certificate in ",
    ),
    "a key of another type": (
        lambda made: (made.ec.cert.read_bytes(), made.rsa.key.read_bytes()),
        "serving.key: the key is not that of the certificate in ",
    ),
    "authority first": (lambda made: of(made.ca_first), "is before the one that it issued"),
    "a foreign one": (lambda made: of(made.foreign_in_chain), "did not issue certificate 1"),
    "weak": (lambda made: of(made.weak), "OpenSSL finds a certificate too weak"),
    "encrypted": (
        lambda made: of(made.encrypted),
        "serving.key: the key is encrypted and there is no passphrase",
    ),
    "half a certificate": (
        lambda made: (made.rsa.cert.read_bytes()[:400], made.rsa.key.read_bytes()),
        "serving.pem: the block CERTIFICATE has no end; is the file half written?",
    ),
    "half a key": (
        lambda made: (made.rsa.cert.read_bytes(), made.rsa.key.read_bytes()[:400]),
        "has no end; is the file half written?",
    ),
    "empty": (lambda made: (b"", made.rsa.key.read_bytes()), "serving.pem: the file is empty"),
    "no certificate": (
        lambda made: (None, made.rsa.key.read_bytes()),
        "serving.pem: cannot be read",
    ),
    "no key": (lambda made: (made.rsa.cert.read_bytes(), None), "serving.key: cannot be read"),
    "swapped": (
        lambda made: (made.rsa.key.read_bytes(), made.rsa.cert.read_bytes()),
        "are cert and private-key swapped?",
    ),
    "DER": (
        lambda made: (der_of(made.rsa), made.rsa.key.read_bytes()),
        "serving.pem: the file is DER, and PEM is expected",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_pair_changes_nothing_and_is_named(
    tls: Serving, certificates: Certificates, kind: str
) -> None:
    number = tls.generation
    make, expected = BAD[kind]
    tls.put_content(*make(certificates))
    status = tls.reload()
    assert f"generation {number}; {FAILED}: " in status
    assert expected in status
    assert expected in tls.service.stderr()
    assert tls.served() == der_of(certificates.ec)
    assert tls.generation == number


def test_a_bad_pair_holds_the_dynamic_config_up(
    tls: Serving, certificates: Certificates, config_fallback_path: Path
) -> None:
    """Both are one generation: nobody has to ask which half of a reload is in force."""
    number = tls.generation
    tls.put(certificates.mismatched)
    config_fallback_path.write_text(json.dumps({"USERVER_LOG_REQUEST": False}))
    assert not tls.is_taken()
    assert {worker["generation"] for worker in tls.control.workers()} == {number}
    tls.put(certificates.rsa)
    config_fallback_path.write_text("{")
    assert not tls.is_taken()
    assert tls.served() == der_of(certificates.ec)


async def test_the_type_of_the_key_changes_while_clients_talk(
    tls: Serving, certificates: Certificates
) -> None:
    async def talk(clients: list[ClientConnection]) -> None:
        for number, client in enumerate(clients):
            await client.send(f"{number}")
            assert await client.recv() == f"{number}"

    async with contextlib.AsyncExitStack() as stack:
        clients: list[ClientConnection] = []
        for pair in (certificates.rsa, certificates.ec, certificates.chained, certificates.rsa):
            clients += [await stack.enter_async_context(tls.chat()) for _ in range(2 * WORKERS)]
            tls.put(pair)
            status = await asyncio.to_thread(tls.reload)
            assert status.startswith(f"{WORKERS} workers ready, {len(clients)} connections, ")
            assert await asyncio.to_thread(tls.served_by_all) == {der_of(pair)}
            await talk(clients)


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_tickets_are_good_in_all_workers_before_and_after(
    tls: Serving, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    def resumes(session: ssl.SSLSession) -> bool:
        """Resume it often enough to meet all workers."""
        with contextlib.ExitStack() as stack:
            for _ in range(50 * WORKERS):
                client = stack.enter_context(tls.connected(version, session))
                if not client.session_reused:
                    return False
                if all(worker["sockets"] for worker in tls.control.workers()):
                    return True
        raise AssertionError("some workers took no clients")

    with tls.connected(version) as client:
        old = client.session
    assert old is not None
    assert resumes(old)
    tls.put(certificates.rsa)
    assert tls.is_taken()
    assert resumes(old)
    with tls.connected(version) as client:
        assert certificate_of(client) == der_of(certificates.rsa)
        new = client.session
    assert new is not None
    assert resumes(new)


def test_a_worker_that_is_started_later_has_it(tls: Serving, certificates: Certificates) -> None:
    tls.put(certificates.rsa)
    assert tls.is_taken()
    before = tls.control.ready()
    os.kill(min(before), signal.SIGKILL)
    wait_until(
        lambda: len(tls.control.ready()) == WORKERS and min(before) not in tls.control.ready(),
        "another worker",
    )
    assert tls.served_by_all() == {der_of(certificates.rsa)}
    # The files are not asked again: what is in force is.
    tls.put(certificates.mismatched)
    before = tls.control.ready()
    os.kill(min(before), signal.SIGKILL)
    wait_until(
        lambda: len(tls.control.ready()) == WORKERS and min(before) not in tls.control.ready(),
        "another worker",
    )
    assert tls.served_by_all() == {der_of(certificates.rsa)}


def test_a_restart_has_it_and_new_keys_for_tickets(
    tls: Serving, certificates: Certificates
) -> None:
    with tls.connected() as client:
        session = client.session
    tls.put(certificates.rsa)
    tls.control.restart()
    assert tls.served_by_all() == {der_of(certificates.rsa)}
    with tls.connected(session=session) as client:
        assert not client.session_reused


def test_a_restart_with_a_bad_pair_changes_nothing(
    tls: Serving, certificates: Certificates
) -> None:
    workers = tls.control.ready()
    tls.put(certificates.expired)
    with pytest.raises(Exception, match="expired on "):
        tls.control.restart()
    assert tls.control.ready() == workers
    assert tls.served_by_all() == {der_of(certificates.ec)}


def test_a_template_that_takes_anothers_place_knows_what_is_in_force(
    tls: Serving, certificates: Certificates
) -> None:
    with tls.connected() as client:
        session = client.session
    tls.put(certificates.rsa)
    assert tls.is_taken()
    replace_template(tls.service)
    tls.put(certificates.mismatched)
    assert not tls.is_taken()
    assert tls.served_by_all() == {der_of(certificates.rsa)}
    tls.put(certificates.ec)
    assert tls.is_taken()
    assert tls.served_by_all() == {der_of(certificates.ec)}
    with tls.connected(session=session) as client:
        # Its workers are those of the first template, with their keys.
        assert client.session_reused


def replace_template(service: Service) -> None:
    (old,) = service.pids("template")
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: service.pids("template") not in ([], [old]), "another template")


@pytest.mark.parametrize("another_template", [False, True])
def test_a_pair_that_ends_while_it_is_in_force_holds_nothing_up(
    tls: Serving,
    certificates: Certificates,
    config_fallback_path: Path,
    another_template: bool,
) -> None:
    short = certificates.issue(ends=3)
    ends = time.time() + 3
    tls.put(short)
    assert tls.is_taken()
    wait_until(lambda: time.time() > ends + 1, "end of the certificate")
    if another_template:
        replace_template(tls.service)
    number = tls.generation
    config_fallback_path.write_text(json.dumps({"USERVER_LOG_REQUEST": False}))
    assert tls.is_taken()
    assert {worker["generation"] for worker in tls.control.workers()} == {number + 1}
    wait_until(lambda: "has expired" in tls.service.stderr(), "warning of the expired certificate")
    tls.put(certificates.expired)
    assert "expired on " in tls.reload()
    assert tls.generation == number + 1
    tls.put(certificates.rsa)
    assert tls.is_taken()
    assert tls.served() == der_of(certificates.rsa)


def test_a_worker_that_cannot_take_it_is_named_and_gets_it_again(
    tls: Serving, certificates: Certificates
) -> None:
    worker = min(tls.control.ready())
    limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        tls.put(certificates.rsa)
        tls.reload()
        number = tls.generation
        assert f"pid {worker} has not confirmed generation {number}" in tls.service.stderr()
        behind = {w["pid"] for w in tls.control.workers() if w["generation"] < number}
        assert behind == {worker}
    finally:
        resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)
    wait_until(
        lambda: {w["generation"] for w in tls.control.workers()} == {number},
        "the generation in all workers",
    )
    assert worker in tls.control.ready()
    assert tls.served_by_all() == {der_of(certificates.rsa)}


@pytest.mark.parametrize("seed", range(2))
def test_any_sequence_of_pairs_serves_the_last_good_one(
    tls: Serving, certificates: Certificates, config_fallback_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    good_values = config_fallback_path.read_text()
    good = [of(getattr(certificates, name)) for name in ("ec", "rsa", "chained")]
    good.append(of(certificates.issue()))
    in_force, number = of(certificates.ec), tls.generation
    for step in range(25):
        is_good = chance.random() < 0.5
        content = chance.choice(good) if is_good else BAD[chance.choice([*BAD])][0](certificates)
        tls.put_content(*content)
        values_are_good = chance.random() < 0.8
        config_fallback_path.write_text(good_values if values_are_good else "{")
        if chance.random() < 0.1:
            replace_template(tls.service)
        status = tls.reload()
        is_taken = is_good and values_are_good
        assert (FAILED in status) is not is_taken, (step, status)
        if is_taken:
            in_force, number = content, number + 1
        assert tls.generation == number
        cert = in_force[0]
        assert cert is not None
        path = tls.files.cert.with_name("in-force.pem")
        path.write_bytes(cert)
        assert tls.served() == der_of(PairFiles(path, path)), step


async def test_a_name_that_is_no_ascii_is_not_worth_a_line(tls: Serving) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.context.wrap_bio(incoming, outgoing, server_hostname="strange.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    reader, writer = await asyncio.open_connection("127.0.0.1", tls.service.port)
    writer.write(outgoing.read().replace(b"strange", b"str\xffnge"))
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert answer[:1] == b"\x15"  # an alert
    await eventually(lambda: tls.control.totals()["sockets"] == 0, "end of the connection")
    assert "Traceback" not in tls.service.stderr()
    assert "Exception ignored" not in tls.service.stderr()


@pytest.mark.covers("CertificateOptions.private-key-passphrase-name")
def test_a_new_key_comes_with_a_new_passphrase_in_secdist(
    serve: Serve, service_tmpdir: Path, control: Control, certificates: Certificates
) -> None:
    secdist = service_tmpdir / "secdist.json"
    files = PairFiles(service_tmpdir / "serving.pem", service_tmpdir / "serving.key")
    files.cert.write_bytes(certificates.encrypted.cert.read_bytes())
    files.key.write_bytes(certificates.encrypted.key.read_bytes())
    secdist.write_text(json.dumps({"passphrases": {"tls": PASSPHRASE}}))
    changes = {
        "default-secdist-provider": {"config": str(secdist)},
        "server.listener.tls": {**files.options, "private-key-passphrase-name": "tls"},
    }
    with serve(changes) as service:
        tls = Serving(service, control, files, certificates)
        assert tls.served_by_all() == {der_of(certificates.encrypted)}
        newer = certificates.issue(passphrase="another")
        tls.put(newer)
        assert "the passphrase is wrong" in tls.reload()
        assert tls.served() == der_of(certificates.encrypted)
        secdist.write_text(json.dumps({"passphrases": {"tls": "another"}}))
        assert tls.is_taken()
        assert tls.served_by_all() == {der_of(newer)}
