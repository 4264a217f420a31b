"""Floods, storms and lies in TLS: they end, a neighbour is served, and the worker lives."""

from __future__ import annotations

import contextlib
import random
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.service import Service, wait_until
from tests.functional.conftest import Serve
from tests.kit.certificates import Certificates
from tests.kit.control import Control
from tests.kit.frames import BINARY, CLOSE, FINAL, TEXT, frame
from tests.kit.hellos import FFDHE2048, FFDHE8192, P_256, X25519, client_hello
from tests.kit.raw import handshake
from tests.kit.secure import COMMAND, secured
from tests.kit.tls import ALERT, DATA, HANDSHAKE, Sealer, TlsClient

pytestmark = pytest.mark.shared_service

ENOUGH = 50_000
"""Records after which a flood should long have ended."""


@pytest.fixture
def service_command(service_command: list[str]) -> list[str]:
    return [*service_command, *COMMAND]


@pytest.fixture
def service_config_yaml(
    service_config_yaml: Any, certificates: Certificates, service_tmpdir: Path
) -> Any:
    # One worker: the neighbour is with those who attack.
    return secured(service_config_yaml, certificates, service_tmpdir, workers=1)


@contextmanager
def a_neighbour_is_served(
    service: Service, control: Control, certificates: Certificates
) -> Iterator[Callable[[], None]]:
    """Hold a WebSocket open beside what happens in the block; yields what has it echo."""
    workers = control.ready()
    with TlsClient(service.port, certificates.trusting()) as neighbour:
        neighbour.open()

        def echo() -> None:
            neighbour.send(frame(FINAL | TEXT, b"hello"))
            assert neighbour.receive_frame() == (FINAL | TEXT, b"hello")

        echo()
        yield echo
        echo()
    wait_until(lambda: control.totals()["sockets"] == 0, "end of all connections")
    assert control.ready() == workers
    assert "Traceback" not in service.stderr()


@contextmanager
def sealed(service: Service, certificates: Certificates, folder: Path) -> Iterator[Any]:
    """Yield a client with an open WebSocket, and what makes its further records."""
    context = certificates.trusting(version=ssl.TLSVersion.TLSv1_3)
    keys = folder / "keys"
    context.keylog_filename = str(keys)
    with TlsClient(service.port, context) as client:
        client.shake()
        sealer = Sealer(keys)
        client.send_raw(sealer.seal(DATA, handshake("/chat")))
        assert client.receive_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        yield client, sealer


TOO_MANY = (FINAL | CLOSE, (1008).to_bytes(2) + b"too many control frames")
FLOODS: dict[str, Callable[[Sealer, int], bytes]] = {
    "key updates": lambda sealer, _number: sealer.key_update(asks=False),
    "key updates that ask": lambda sealer, _number: sealer.key_update(asks=True),
    # OpenSSL itself ends 33 empty ones in a row.
    "empty records and a byte": lambda sealer, number: sealer.seal(DATA, b"x"[number % 30 :]),
    "empty records with padding": lambda sealer, number: sealer.seal(
        DATA, b"x"[number % 30 :], 500
    ),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_within_tls_is_ended(
    supervisor: Service, control: Control, certificates: Certificates, tmp_path: Path, kind: str
) -> None:
    make = FLOODS[kind]
    with (
        a_neighbour_is_served(supervisor, control, certificates) as echo,
        sealed(supervisor, certificates, tmp_path) as (client, sealer),
    ):
        # A message that takes in whatever data comes.
        client.send_raw(sealer.seal(DATA, frame(FINAL | BINARY, b"", length=1 << 19)))
        for begin in range(0, ENOUGH, 100):
            client.send_raw(b"".join(make(sealer, begin + number) for number in range(100)))
            echo()
            if client.has_news():
                break
        assert client.receive_frame() == TOO_MANY
        client.receive_all()
        assert client.ended == "close_notify"


@pytest.mark.parametrize(
    "record",
    [
        lambda sealer: sealer.seal(HANDSHAKE, b"\x01\x00\x00\x00"),
        lambda sealer: sealer.seal(HANDSHAKE, b"\x18"),
        lambda sealer: sealer.seal(HANDSHAKE, b"\x18\x00\x00\x01\x07"),
        lambda sealer: sealer.seal(0x63, b"?"),
        lambda sealer: b"\x14\x03\x03\x00\x01\x01",
        lambda sealer: sealer.seal(DATA, bytes(20))[:-1] + b"\0",
        lambda sealer: b"\x17\x03\x03\x45\x00" + bytes(0x4500),
        lambda sealer: b"GET / HTTP/1.1\r\n\r\n",
        lambda sealer: sealer.seal(ALERT, b"\x02\x28"),
        lambda sealer: b"".join(sealer.seal(ALERT, b"\x01\x5a") for _ in range(5)),
        lambda sealer: b"".join(sealer.seal(DATA, b"") for _ in range(33)),
    ],
    ids=[
        "another hello",
        "part of a key update and data",
        "a key update that is none",
        "a record of no type",
        "a change of ciphers",
        "a changed byte",
        "too long a record",
        "plain text",
        "a fatal alert",
        "warnings",
        "empty records",
    ],
)
def test_a_wrong_record_is_the_end(
    supervisor: Service,
    control: Control,
    certificates: Certificates,
    tmp_path: Path,
    record: Callable[[Sealer], bytes],
) -> None:
    with (
        a_neighbour_is_served(supervisor, control, certificates),
        sealed(supervisor, certificates, tmp_path) as (client, sealer),
    ):
        client.send_raw(record(sealer) + sealer.seal(DATA, frame(FINAL | TEXT, b"hello")))
        with contextlib.suppress(ssl.SSLError):
            client.receive_all()
        assert client.ended != "" or client.sock.recv(1) == b""


@pytest.mark.parametrize(
    ("groups", "shares"),
    [
        ([FFDHE8192], [FFDHE8192]),
        ([FFDHE2048], [FFDHE2048]),
        # To be asked for a share.
        ([FFDHE8192], []),
        ([X25519, FFDHE8192], [FFDHE8192]),
        ([X25519, FFDHE8192], [FFDHE8192, X25519]),
    ],
)
def test_a_client_cannot_choose_an_exchange_that_takes_long(
    supervisor: Service,
    control: Control,
    certificates: Certificates,
    groups: list[int],
    shares: list[int],
) -> None:
    with (
        a_neighbour_is_served(supervisor, control, certificates),
        TlsClient(supervisor.port, certificates.trusting()) as client,
    ):
        client.send_raw(client_hello(groups, shares))
        assert client.sock.recv(65_536)[:1] in {b"", b"\x15"}


def test_an_exchange_on_curves_goes_on(
    supervisor: Service, control: Control, certificates: Certificates
) -> None:
    # The hellos of the test above are refused for nothing else.
    with a_neighbour_is_served(supervisor, control, certificates):
        for groups in ([X25519], [P_256, X25519, FFDHE8192]):
            with TlsClient(supervisor.port, certificates.trusting()) as client:
                client.send_raw(client_hello(groups, [X25519]))
                assert client.sock.recv(65_536)[:1] == b"\x16"


def test_who_has_no_key_share_is_asked_for_one_on_a_curve(
    supervisor: Service, control: Control, certificates: Certificates
) -> None:
    with (
        a_neighbour_is_served(supervisor, control, certificates),
        TlsClient(supervisor.port, certificates.trusting()) as client,
    ):
        client.send_raw(client_hello([FFDHE8192, X25519], []))
        # The extension key_share of a HelloRetryRequest (RFC 8446, section 4.2.8).
        assert b"\x00\x33\x00\x02" + X25519.to_bytes(2) in client.sock.recv(65_536)


def test_stale_handshakes_keep_nobody_out(
    supervisor: Service, control: Control, certificates: Certificates
) -> None:
    context = certificates.trusting()
    with a_neighbour_is_served(supervisor, control, certificates) as echo, ExitStack() as stack:
        hello = client_hello([X25519], [X25519])
        for number in range(600):
            stale = stack.enter_context(TlsClient(supervisor.port, context))
            # Some wait for the rest of the hello, some for the client's answer.
            with contextlib.suppress(ConnectionError):
                stale.send_raw(hello if number % 2 else hello[:5])
            if number % 100 == 99:
                echo()
                with TlsClient(supervisor.port, context) as honest:
                    honest.open()


def test_a_storm_of_hellos(
    supervisor: Service, control: Control, certificates: Certificates
) -> None:
    context = certificates.trusting()
    with a_neighbour_is_served(supervisor, control, certificates) as echo:
        for _ in range(10):
            with ExitStack() as stack:
                for _ in range(40):
                    client = stack.enter_context(TlsClient(supervisor.port, context))
                    client.send_raw(client_hello([X25519], [X25519]))
                echo()


def test_damaged_hellos(supervisor: Service, control: Control, certificates: Certificates) -> None:
    choice = random.Random(22)
    context = certificates.trusting()
    with a_neighbour_is_served(supervisor, control, certificates) as echo:
        for number in range(300):
            with TlsClient(supervisor.port, context) as client:
                hello = bytearray(client.step())
                match number % 4:
                    case 0:
                        hello[choice.randrange(len(hello))] ^= 1 << choice.randrange(8)
                    case 1:
                        begin = choice.randrange(len(hello))
                        del hello[begin : begin + choice.randrange(1, 40)]
                    case 2:
                        begin = choice.randrange(len(hello))
                        hello[begin:begin] = choice.randbytes(choice.randrange(1, 40))
                    case 3:
                        # A true header above, and anything in it.
                        at = choice.randrange(5, len(hello) - 4)
                        hello[at : at + 4] = choice.randbytes(4)
                with contextlib.suppress(ConnectionError):
                    client.send_raw(bytes(hello))
                    client.finish()
                    while client.sock.recv(65_536):
                        pass
            if number % 50 == 0:
                echo()


@pytest.mark.covers("WebsocketOptions.max-control-frames-per-second")
def test_key_updates_count_as_control_frames(
    serve: Serve, control: Control, certificates: Certificates, tmp_path: Path
) -> None:
    with serve({"websocket-handler.max-control-frames-per-second": 10}) as service:
        with sealed(service, certificates, tmp_path) as (client, sealer):
            client.send_raw(b"".join(sealer.key_update(asks=False) for _ in range(200)))
            assert client.receive_frame() == TOO_MANY
        assert control.limits()["max-control-frames-per-second"] == 1
        # Few are nothing special.
        with sealed(service, certificates, tmp_path) as (client, sealer):
            for _ in range(5):
                client.send_raw(sealer.key_update(asks=True))
            client.send_raw(sealer.seal(DATA, frame(FINAL | TEXT, b"hello")))
            assert client.receive_frame() == (FINAL | TEXT, b"hello")
