"""Certificates that expire while the service runs."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.service import wait_until
from tests.functional.conftest import Serve
from tests.kit.certificates import Certificates, PairFiles, put
from tests.kit.frames import FINAL, TEXT, frame
from tests.kit.secure import COMMAND, secured
from tests.kit.tls import TlsClient

HELLO = frame(FINAL | TEXT, b"hello")


@pytest.fixture
def service_command(service_command: list[str]) -> list[str]:
    return [*service_command, *COMMAND]


@pytest.fixture
def service_config_yaml(
    service_config_yaml: Any, certificates: Certificates, service_tmpdir: Path
) -> Any:
    return secured(service_config_yaml, certificates, service_tmpdir)


def is_expired_for(port: int, context: ssl.SSLContext) -> bool:
    """Whether a new client sees a certificate whose time is over."""
    with TlsClient(port, context) as client:
        try:
            client.shake()
        except ssl.SSLCertVerificationError as error:
            assert error.verify_message == "certificate has expired"
            return True
        return False


def test_an_expired_one_is_served_until_it_is_renewed_and_nobody_who_is_connected_is_told(
    serve: Serve, certificates: Certificates, service_tmpdir: Path
) -> None:
    pair = PairFiles(service_tmpdir / "cert.pem", service_tmpdir / "key.pem")
    put(certificates.ec, pair)
    context = certificates.trusting()
    with serve({"server.listener.tls": pair.options}) as service, ExitStack() as stack:
        # Long enough for a reload on a busy machine.
        put(certificates.issue(ends=8), pair)
        assert "generation 2" in service.reload()
        before = stack.enter_context(TlsClient(service.port, context)).open()
        wait_until(lambda: is_expired_for(service.port, context), "end of its time")
        # It is still what is configured: a reload of something else is a reload.
        assert "generation 3" in service.reload()
        assert "expired" in service.stderr()
        assert is_expired_for(service.port, context)
        before.send(HELLO)
        assert before.receive_frame() == (FINAL | TEXT, b"hello")
        put(certificates.rsa, pair)
        assert "generation 4" in service.reload()
        assert not is_expired_for(service.port, context)
        before.send(HELLO)
        assert before.receive_frame() == (FINAL | TEXT, b"hello")


def test_a_client_certificate_that_has_expired_resumes_no_session(
    serve: Serve, certificates: Certificates
) -> None:
    with serve({"server.listener.tls.ca": [str(certificates.ca)]}) as service:
        # Long enough for two handshakes on a busy machine.
        brief = certificates.issue("client.test", ends=5)
        context = certificates.trusting(brief)
        with TlsClient(service.port, context) as client:
            client.open()
            session = client.tls.session
        assert session is not None

        def is_refused() -> bool:
            with TlsClient(service.port, context, session=session) as client:
                try:
                    client.open()
                except (ssl.SSLError, EOFError, ConnectionError):
                    return True
                return False

        assert not is_refused()
        wait_until(is_refused, "end of its time")
        # And without a session as well; who has another certificate is served.
        session = None
        assert is_refused()
        with TlsClient(service.port, certificates.trusting(certificates.client)) as client:
            client.open()
