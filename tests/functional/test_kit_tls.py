"""The test kit with a service that speaks TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.service import Service
from tests.kit.certificates import Certificates

pytestmark = pytest.mark.shared_service


@pytest.fixture
def with_tls(certificates: Certificates) -> Callable[[Any, dict[str, Any]], None]:
    def use_it(config: Any, _config_vars: dict[str, Any]) -> None:
        listener = config["components_manager"]["components"]["server"]["listener"]
        listener["tls"] = {**certificates.ec.options, "ca": [str(certificates.ca)]}

    return use_it


USERVER_CONFIG_HOOKS = ["with_tls"]


@pytest.fixture
def service_ssl_context(
    service_ssl_context: ssl.SSLContext, certificates: Certificates
) -> ssl.SSLContext:
    client = certificates.client
    service_ssl_context.load_cert_chain(client.cert, client.key)
    return service_ssl_context


@pytest.mark.covers("PortOptions.tls", "CertificateOptions.cert", "CertificateOptions.private-key")
async def test_both_clients_speak_it(
    supervisor: Service,
    service_baseurl: str,
    service_client: ServiceClient,
    websocket_client: WebsocketClient,
) -> None:
    port = supervisor.port
    assert supervisor.ready_line.endswith(f"wss://localhost:{port}/chat, 4 workers")
    assert service_baseurl == f"https://localhost:{port}/"
    assert (await service_client.get("/ping")).status == 200
    async with websocket_client.get("chat") as chat:
        await chat.send("hello")
        assert await chat.recv() == "hello"


@pytest.mark.parametrize(
    ("origin", "admitted"), [("https://localhost", True), ("http://localhost", False)]
)
async def test_pages_of_other_origins_cannot_use_a_browsers_certificate(
    websocket_client: WebsocketClient, service_port: int, origin: str, admitted: bool
) -> None:
    with nullcontext() if admitted else pytest.raises(InvalidStatus, match="403"):
        async with websocket_client.get("chat", origin=f"{origin}:{service_port}"):
            pass


async def test_a_test_may_trust_somebody_else(
    websocket_client: WebsocketClient, certificates: Certificates
) -> None:
    """A client without a certificate is refused, with TLS 1.3 after it believes itself connected."""
    with pytest.raises((ssl.SSLError, ConnectionError, ConnectionClosed, InvalidMessage)):
        async with websocket_client.get("chat", ssl=certificates.trusting()) as chat:
            await chat.recv()
