"""A service in one process (``--no-fork``) over TLS."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest
from websockets.sync.client import connect

from mpchat.ipc.control import ControlError
from mpchat.testsuite.service import Service
from tests.functional.conftest import Serve
from tests.kit.certificates import Certificates, PairFiles
from tests.kit.control import Control


def shown(service: Service, context: ssl.SSLContext) -> bytes | None:
    """Have a message come back; return the certificate that this client has seen."""
    address = f"wss://localhost:{service.port}/chat"
    with connect(address, ssl=context, close_timeout=5) as chat:
        chat.send("hello")
        assert chat.recv(10) == "hello"
        assert isinstance(chat.socket, ssl.SSLSocket)
        return chat.socket.getpeercert(binary_form=True)


def test_a_single_process_has_certificates_and_reads_them_again(
    serve: Serve, control: Control, certificates: Certificates, tmp_path: Path
) -> None:
    pair = PairFiles(tmp_path / "a.pem", tmp_path / "a.key")

    def put(made: PairFiles) -> None:
        shutil.copy(made.cert, pair.cert)
        shutil.copy(made.key, pair.key)

    put(certificates.ec)
    context = certificates.trusting()
    with serve({"server.listener.tls": pair.options}, "--no-fork") as service:
        first = shown(service, context)
        assert service.ready_line.endswith(
            f"wss://localhost:{service.port}/chat, in this process alone"
        )
        (one,) = control.status()["certificates"]
        assert (one["listener"], one["path"]) == ("listener", str(pair.cert))
        put(certificates.rsa)
        control.ask("reload")
        second = shown(service, context)
        assert first != second
        put(certificates.expired)
        with pytest.raises(ControlError, match=r"a\.pem: certificate 1 .* expired on"):
            control.ask("reload")
        assert shown(service, context) == second
