"""The console over TLS: who is answered, which certificate is shown, and what operators hear of it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.ipc.control import ControlError
from mpchat.testsuite.service import Service, wait_until
from tests.functional.conftest import Serve
from tests.functional.test_console import console_pid
from tests.kit.certificates import DAY, PASSPHRASE, Certificates, PairFiles
from tests.kit.control import Control
from tests.kit.verbs import Mpchat

EXPIRY = "mpchat_certificate_expiry_timestamp_seconds"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1Ng==",
}


@pytest.fixture
def pair(service_tmpdir: Path) -> PairFiles:
    """The files that the console's options name; ``put`` fills them."""
    return PairFiles(service_tmpdir / "console.pem", service_tmpdir / "console.key")


@pytest.fixture
def service_config_yaml(
    service_config_yaml: Any, pair: PairFiles, certificates: Certificates
) -> Any:
    put(certificates.ec, pair)
    components = service_config_yaml["components_manager"]["components"]
    components["server"]["listener-monitor"] = {"port": 0, "tls": dict(pair.options)}
    components["handler-metrics"] = {"path": "/metrics"}
    return service_config_yaml


def put(source: PairFiles, pair: PairFiles) -> None:
    shutil.copy(source.cert, pair.cert)
    shutil.copy(source.key, pair.key)


def port_of(control: Control) -> int:
    """Return where the console listens, once it is ready."""
    wait_until(lambda: control.status()["console"]["state"] == "ready", "a ready console")
    address = control.status()["console"]["address"]
    assert address.startswith("https://127.0.0.1:")
    return int(address.rstrip("/").rpartition(":")[2])


def ask(port: int, path: str, context: ssl.SSLContext) -> tuple[int, str]:
    """Return status and text of an answer."""
    client = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    try:
        client.request("GET", path)
        response = client.getresponse()
        return response.status, response.read().decode()
    finally:
        client.close()


def shown(port: int, context: ssl.SSLContext) -> bytes:
    """Return the certificate that a new client sees."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as secured,
    ):
        found = secured.getpeercert(binary_form=True)
    assert found is not None
    return found


def leaf(pair: PairFiles) -> bytes:
    """Return the first certificate of a file."""
    text = pair.cert.read_text()
    return ssl.PEM_cert_to_DER_cert(text[: text.index("-----END")] + "-----END CERTIFICATE-----")


@pytest.mark.shared_service
def test_it_serves_by_tls_alone_and_everybody_shows_its_certificate(
    supervisor: Service,
    control: Control,
    certificates: Certificates,
    mpchat: Mpchat,
    service_tmpdir: Path,
) -> None:
    port = port_of(control)
    (one,) = control.status()["certificates"]
    assert one["listener"] == "listener-monitor"
    assert one["names"] == ["localhost", "127.0.0.1", "::1"]
    assert one["path"] == str(service_tmpdir / "console.pem")
    assert 89 * DAY < one["seconds_left"] <= 90 * DAY
    named = EXPIRY + '{certificate="localhost",listener="listener-monitor"} '

    def metric() -> str:
        """Return its line; a console is told of certificates just after it is ready."""
        status, text = ask(port, "/metrics", certificates.trusting())
        assert status == 200
        return next((line for line in text.splitlines() if line.startswith(named)), "")

    assert float(wait_until(metric, "metric").removeprefix(named)) == one["not_after"]
    printed = mpchat("status", "--socket", str(control.path), cwd=service_tmpdir).stdout
    assert f"https://127.0.0.1:{port}/" in printed
    assert "certificate of listener-monitor: " in printed
    assert "localhost, 127.0.0.1, ::1, issued by " in printed
    assert ", 89 days left" in printed
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        plain.request("GET", "/metrics")
        plain.getresponse()
    plain.close()


def test_a_reload_shows_another_certificate_and_closes_nothing(
    supervisor: Service, control: Control, certificates: Certificates, pair: PairFiles
) -> None:
    port, context = port_of(control), certificates.trusting()
    assert shown(port, context) == leaf(certificates.ec)
    live = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    live.request("GET", "/live", headers=UPGRADE)
    # The connection is the response's from then on.
    sock = live.sock
    assert live.getresponse().status == 101
    put(certificates.rsa, pair)
    control.ask("reload")
    wait_until(lambda: shown(port, context) == leaf(certificates.rsa), "the new certificate")
    assert sock.recv(1)
    live.close()

    # One in its place, from then on, has it from the beginning; and nothing takes what is wrong.
    os.kill(console_pid(supervisor), signal.SIGKILL)
    assert shown(port, context) == leaf(certificates.rsa)
    put(certificates.mismatched, pair)
    with pytest.raises(
        ControlError, match=r"console\.key: .*the key is not that of the certificate"
    ):
        control.ask("reload")
    assert shown(port, context) == leaf(certificates.rsa)
    os.kill(console_pid(supervisor), signal.SIGKILL)
    assert shown(port, context) == leaf(certificates.rsa)


@pytest.mark.covers("TlsOptions.ca")
def test_with_an_authority_operators_need_a_certificate(
    serve: Serve, control: Control, certificates: Certificates
) -> None:
    with serve({"server.listener-monitor.tls.ca": [str(certificates.ca)]}):
        port = port_of(control)
        assert ask(port, "/metrics", certificates.trusting(certificates.client))[0] == 200
        for stranger in (None, certificates.strange_client, certificates.expired_client):
            # With TLS 1.3 a client hears of it with its first read.
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                ask(port, "/metrics", certificates.trusting(stranger))


def test_who_looks_hears_that_a_certificate_expires_soon(
    serve: Serve,
    control: Control,
    certificates: Certificates,
    mpchat: Mpchat,
    pair: PairFiles,
    service_tmpdir: Path,
) -> None:
    put(certificates.issue(ends=10.5 * DAY), pair)
    with serve({}) as service:
        warning = f"{pair.cert}: the certificate for localhost expires in 10 days, at "
        assert service.stderr().count(warning) == 1
        service.reload()
        assert service.stderr().count(warning) == 2
        config = str(service_tmpdir / "changed.yaml")
        printed = mpchat("status", "-c", config, cwd=service_tmpdir).stdout
        assert ": EXPIRES in 10d" in printed
        checked = mpchat("check", "-c", config, cwd=service_tmpdir)
        assert f"warning: {warning}" in checked.stderr
        assert checked.stdout.startswith("listener-monitor: ")
        assert ": EXPIRES in 10d" in checked.stdout
        # The page has it by its WebSocket.
        context = certificates.trusting()
        live = http.client.HTTPSConnection("127.0.0.1", port_of(control), context=context)
        live.request("GET", "/live", headers=UPGRADE)
        sock = live.sock
        live.getresponse()
        sock.settimeout(10)
        wait_until(lambda: b'"seconds_left": 9' in sock.recv(65536), "it on the page")
        live.close()


@pytest.mark.covers("CertificateOptions.private-key-passphrase")
def test_a_passphrase_is_shown_to_nobody(
    serve: Serve,
    control: Control,
    certificates: Certificates,
    mpchat: Mpchat,
    pair: PairFiles,
    service_tmpdir: Path,
) -> None:
    put(certificates.encrypted, pair)
    with serve({"server.listener-monitor.tls.private-key-passphrase": PASSPHRASE}) as service:
        assert ask(port_of(control), "/metrics", certificates.trusting())[0] == 200
        config = str(service_tmpdir / "changed.yaml")
        told = [
            mpchat("config", "show", "-c", config, cwd=service_tmpdir).stdout,
            json.dumps(control.ask("config")),
            json.dumps(control.ask("dynamic-config")),
            json.dumps(control.status()),
            service.stderr(),
        ]
        assert "private-key-passphrase: '**********'" in told[0].replace('"', "'")
        assert not any(PASSPHRASE in text for text in told)


def test_a_restart_may_take_it_away(
    serve: Serve, control: Control, certificates: Certificates, service_tmpdir: Path
) -> None:
    with serve({}) as service:
        port = port_of(control)
        assert ask(port, "/metrics", certificates.trusting())[0] == 200
        config = service_tmpdir / "changed.yaml"
        changed = yaml.safe_load(config.read_text())
        del changed["components_manager"]["components"]["server"]["listener-monitor"]["tls"]
        config.write_text(yaml.safe_dump(changed))
        before = console_pid(service)
        control.restart()
        wait_until(lambda: set(service.pids("console")) - {before}, "the next console")
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        plain.request("GET", "/metrics")
        assert plain.getresponse().status == 200
        plain.close()
        assert control.status()["certificates"] == []
        assert control.status()["console"]["address"] == f"http://127.0.0.1:{port}/"
        assert "Traceback" not in service.stderr()
