"""HTTP and WebSockets above TLS, and what a port says to those who speak the other language."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

import pytest

from mpchat.server.stages import Stage
from mpchat.tls.contexts import Contexts
from mpchat.tls.material import Material
from mpchat.tls.options import TlsOptions
from mpchat.tls.pair import Pair
from tests.kit.certificates import Certificates
from tests.unit.server.test_protocol import HANDSHAKE, REQUEST, serve, stages
from tests.unit.websocket.rig import Worker, on_uvloop, until

HELLO = bytes.fromhex("16 0301 0200 01")
ALERT = bytes.fromhex("15 0301 0002 02 46")


def contexts(certificates: Certificates) -> Contexts:
    """Return those of a listener that serves a certificate."""
    files = certificates.ec
    pair = Pair(
        str(files.cert), str(files.key), files.cert.read_bytes(), files.key.read_bytes(), None
    )
    return Contexts(TlsOptions.model_validate(files.options), Material((pair,)))


def trusting(certificates: Certificates) -> dict[str, Any]:
    return {"ssl": certificates.trusting(), "server_hostname": "localhost"}


@on_uvloop
async def test_requests_and_a_websocket_come_through_tls(
    worker: Worker, certificates: Certificates
) -> None:
    async with serve(worker, tls=contexts(certificates)) as (_server, address):
        reader, writer = await asyncio.open_connection(*address, **trusting(certificates))
        for _ in range(2):
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(
                int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
            )
        writer.write(HANDSHAKE)
        assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")
        assert worker.counters.tls_handshakes == 1
        writer.close()


@on_uvloop
async def test_an_http_client_on_a_tls_port_reads_why(
    worker: Worker, certificates: Certificates
) -> None:
    async with serve(worker, tls=contexts(certificates)) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(REQUEST)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"this port speaks TLS: use https:// or wss://" in answer
        assert stages(server) == [Stage.LINGERING]
        writer.close()
        await until(lambda: not server.registry.waiting)
        assert worker.counters.tls_not_tls == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@on_uvloop
async def test_a_tls_client_on_a_plain_port_hears_of_it(
    worker: Worker, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    async with serve(worker) as (_server, address):
        with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
            await asyncio.open_connection(
                *address, ssl=certificates.trusting(version=version), server_hostname="localhost"
            )


@on_uvloop
async def test_the_alert_is_all_that_it_gets(worker: Worker) -> None:
    async with serve(worker) as (_server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(HELLO)
        assert await reader.read() == ALERT
        writer.close()
        # Whatever else has these bytes is a bad request as any other.
        for request in (b"\x16\x03\x01\r\n\r\n", b"GET /" + HELLO + b" HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(request)
            assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
            writer.close()


@on_uvloop
async def test_a_stop_ends_clients_that_have_not_shaken_hands(
    worker: Worker, certificates: Certificates
) -> None:
    async with serve(worker, tls=contexts(certificates)) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"\x16\x03\x01\x02\x00")
        await until(lambda: stages(server) == [Stage.ACCEPTED])
    # The end of serve hurries: it did not wait for handshake-timeout.
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    assert worker.limits["handshake-timeout"] == 0


@on_uvloop
async def test_records_without_data_end_a_client_that_has_no_websocket(
    worker: Worker, certificates: Certificates
) -> None:
    async with serve(worker, tls=contexts(certificates)) as (server, address):
        _reader, writer = await asyncio.open_connection(*address, **trusting(certificates))
        await until(lambda: stages(server) == [Stage.FRESH])
        [client] = server.registry.waiting
        client.controls_received(128)  # type: ignore[attr-defined]
        assert worker.limits["max-control-frames-per-second"] == 0
        client.controls_received(1)  # type: ignore[attr-defined]
        assert worker.limits["max-control-frames-per-second"] == 1
        await until(lambda: not server.registry.waiting)
        writer.close()
