"""How connections with TLS end: well, truncated, reset at any stage; and who speaks something else."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.service import DEADLINE, Service, wait_until
from tests.functional.conftest import Serve
from tests.kit.certificates import Certificates
from tests.kit.control import Control
from tests.kit.frames import CLOSE, FINAL, TEXT, frame
from tests.kit.secure import COMMAND, secured
from tests.kit.tls import TlsClient

pytestmark = pytest.mark.shared_service

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
REQUEST = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
PROTOCOL_VERSION = bytes.fromhex("15030100020246")
"""The alert that tells who speaks TLS, or another version of it, that this is not spoken here."""


@pytest.fixture
def service_command(service_command: list[str]) -> list[str]:
    return [*service_command, *COMMAND]


@pytest.fixture
def service_config_yaml(
    service_config_yaml: Any, certificates: Certificates, service_tmpdir: Path
) -> Any:
    return secured(service_config_yaml, certificates, service_tmpdir)


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def context(request: pytest.FixtureRequest, certificates: Certificates) -> ssl.SSLContext:
    """What a client uses that speaks one version."""
    return certificates.trusting(version=request.param)


@contextmanager
def nobody_is_left(service: Service, control: Control) -> Iterator[None]:
    """Whatever a client does in the block: its socket is gone, and no worker or log has suffered."""
    workers = control.ready()
    yield
    wait_until(lambda: control.totals()["sockets"] == 0, "end of the connection")
    assert control.ready() == workers
    assert "Traceback" not in service.stderr()
    assert "Error" not in service.stderr()


def bare(port: int, data: bytes) -> bytes:
    """Send bytes on a plain socket, and return all that comes back until the end of file."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as sock:
        sock.sendall(data)
        return b"".join(iter(lambda: sock.recv(65_536), b""))


# Ends


def test_a_close_of_the_clients_is_answered_in_both_languages(
    supervisor: Service, control: Control, context: ssl.SSLContext
) -> None:
    with nobody_is_left(supervisor, control), TlsClient(supervisor.port, context) as client:
        client.open()
        client.send(frame(FINAL | CLOSE, b"\x03\xe8"))
        assert client.receive_frame() == (FINAL | CLOSE, b"\x03\xe8")
        assert client.receive_all() == b""
        assert client.ended == "close_notify"


def test_a_close_of_the_servers_comes_before_its_close_notify(
    supervisor: Service, control: Control, context: ssl.SSLContext
) -> None:
    with nobody_is_left(supervisor, control), TlsClient(supervisor.port, context) as client:
        client.open()
        client.send(frame(FINAL | TEXT, b"", length=1 << 40))
        first, payload = client.receive_frame()
        assert (first, payload[:2]) == (FINAL | CLOSE, (1009).to_bytes(2))
        client.send(frame(FINAL | CLOSE, payload[:2]))
        assert client.receive_all() == b""
        assert client.ended == "close_notify"


def test_what_comes_after_the_end_is_read_and_dropped(
    supervisor: Service, control: Control, context: ssl.SSLContext
) -> None:
    # A reset would take the Close from a client that still sends.
    with nobody_is_left(supervisor, control), TlsClient(supervisor.port, context) as client:
        client.open()
        client.send(frame(FINAL | TEXT, b"", length=1 << 40))
        for _ in range(64):
            client.send(bytes(16_384))
        client.finish()
        first, payload = client.receive_frame()
        assert (first, payload[:2]) == (FINAL | CLOSE, (1009).to_bytes(2))
        assert client.receive_all() == b""
        assert client.ended == "close_notify"


def test_a_request_is_answered_after_the_clients_close_notify(
    supervisor: Service, control: Control, context: ssl.SSLContext
) -> None:
    with nobody_is_left(supervisor, control), TlsClient(supervisor.port, context) as client:
        client.shake().send(REQUEST)
        assert client.receive_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        client.notify()
        assert client.receive_all() == b""
        assert client.ended == "close_notify"


@pytest.mark.parametrize("notified", [True, False], ids=["close_notify", "truncated"])
def test_an_open_websocket_ends_with_its_client(
    supervisor: Service, control: Control, context: ssl.SSLContext, notified: bool
) -> None:
    with nobody_is_left(supervisor, control), TlsClient(supervisor.port, context) as client:
        client.open()
        if notified:
            client.notify()
        client.finish()
        client.receive_all()
        assert client.ended == "close_notify"
    wait_until(lambda: "1006" in supervisor.stderr(), "end without a Close")


STAGES = (
    "connected",
    "half a hello",
    "hello",
    "half an answer",
    "shaken",
    "upgraded",
    "half a frame",
)


def bring_to(stage: str, client: TlsClient) -> None:
    """Bring a connection to one of its stages."""
    if stage == "connected":
        return
    hello = client.step()
    if stage == "half a hello":
        client.send_raw(hello[: len(hello) // 2])
        return
    client.send_raw(hello)
    if stage == "hello":
        return
    client.feed()
    answer = client.step()
    if stage == "half an answer":
        client.send_raw(answer[: len(answer) // 2])
        return
    client.send_raw(answer)
    if stage == "shaken":
        return
    client.open()
    if stage == "half a frame":
        data = client.seal(frame(FINAL | TEXT, bytes(1000)))
        client.send_raw(data[: len(data) // 2])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", ["finish", "reset", "close"])
def test_a_client_is_gone_at_any_stage(
    supervisor: Service, control: Control, context: ssl.SSLContext, stage: str, how: str
) -> None:
    with nobody_is_left(supervisor, control), TlsClient(supervisor.port, context) as client:
        bring_to(stage, client)
        match how:
            case "finish":
                client.finish()
                client.sock.settimeout(DEADLINE)
                while client.sock.recv(65_536):
                    pass
            case "reset":
                client.reset()


@pytest.mark.parametrize("stage", ["connected", "half a hello", "hello", "half an answer"])
def test_a_handshake_that_does_not_go_on_is_ended(
    serve: Serve, certificates: Certificates, control: Control, stage: str
) -> None:
    with serve({"server.handshake-timeout": "300ms"}) as service:
        context = certificates.trusting()
        with nobody_is_left(service, control), TlsClient(service.port, context) as client:
            bring_to(stage, client)
            assert drained(client.sock)


def drained(sock: socket.socket) -> bool:
    """Wait until the other side has ended a connection."""
    with contextlib.suppress(ConnectionResetError):
        while sock.recv(65_536):
            pass
    return True


def test_no_trickle_stretches_the_time_for_a_handshake(
    serve: Serve, certificates: Certificates, control: Control
) -> None:
    with serve({"server.handshake-timeout": "300ms"}) as service, nobody_is_left(service, control):
        client = TlsClient(service.port, certificates.trusting())
        hello = iter(client.step())

        def is_ended() -> bool:
            try:
                client.sock.sendall(bytes([next(hello)]))
                return client.sock.recv(65_536, socket.MSG_DONTWAIT) == b""
            except BlockingIOError:
                return False
            except OSError:
                return True

        with client:
            # The whole hello would take twice as long.
            wait_until(is_ended, "end of the trickle", interval=0.6 / 500)


def test_a_drain_ends_with_close_notify(serve: Serve, certificates: Certificates) -> None:
    with serve({"websocket-handler.max-remote-payload": 100}) as service:
        client, idle = (TlsClient(service.port, certificates.trusting()) for _ in range(2))
        with client, idle:
            client.open()
            idle.shake()
            service.process.terminate()
            first, payload = client.receive_frame()
            assert (first, payload[:2]) == (FINAL | CLOSE, (1001).to_bytes(2))
            client.send(frame(FINAL | CLOSE, payload[:2]))
            for one in (client, idle):
                assert one.receive_all() == b""
                assert one.ended == "close_notify"
            assert service.process.wait(DEADLINE) == 0


# Something else


@pytest.mark.parametrize(
    "data",
    [
        REQUEST,
        b"POST /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000),
        b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PUT /x HTTP/1.0\r\n\r\n",
        b"DELETE /x HTTP/1.0\r\n\r\n",
    ],
    ids=lambda data: data.split()[0].decode(),
)
def test_a_plain_request_is_told_that_this_is_tls(
    supervisor: Service, control: Control, data: bytes
) -> None:
    with nobody_is_left(supervisor, control):
        answer = bare(supervisor.port, data)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"TLS" in body


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\x17\x03\x03\x40\x00" + bytes(16_384),
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\x16\x00\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00",
        b"\x80\x2e\x01\x03\x01" + bytes(43),
        bytes(5000),
    ],
    ids=[
        "SSH",
        "an alert",
        "data first",
        "too long a record",
        "no version",
        "a ServerHello",
        "a hello of 16 MiB",
        "SSL 2",
        "zeros",
    ],
)
def test_what_is_no_tls_is_ended(supervisor: Service, control: Control, data: bytes) -> None:
    with nobody_is_left(supervisor, control), contextlib.suppress(ConnectionResetError):
        answer = bare(supervisor.port, data)
        assert answer == b"" or answer[0] == 0x15


def test_tls_1_1_gets_its_alert(supervisor: Service, control: Control) -> None:
    body = b"\x03\x02" + bytes(32) + b"\0" + b"\x00\x02\xc0\x13" + b"\x01\x00"
    message = b"\x01" + len(body).to_bytes(3) + body
    with nobody_is_left(supervisor, control):
        answer = bare(supervisor.port, b"\x16\x03\x01" + len(message).to_bytes(2) + message)
        # In the client's own version.
        assert (answer[:1], answer[5:]) == (b"\x15", b"\x02\x46")


def test_tls_on_a_plain_port_gets_its_alert(
    serve: Serve, certificates: Certificates, control: Control
) -> None:
    with serve({"server.listener.tls": None}) as service:
        before = service.stderr().count("TLS")
        with (
            nobody_is_left(service, control),
            TlsClient(service.port, certificates.trusting()) as client,
            pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"),
        ):
            client.shake()
        wait_until(lambda: service.stderr().count("TLS") > before, "line of it")
