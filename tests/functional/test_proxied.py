"""Behind proxies that say who their clients are: all means the client, and nobody else is believed."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import InvalidStatus

from mpchat.server.proxy_header import SIGNATURE
from mpchat.testsuite.dynamic_config import FileDynamicConfig
from mpchat.testsuite.service import Service
from tests.functional.conftest import Serve
from tests.kit.control import Control
from tests.kit.raw import handshake, message_of
from tests.kit.waiting import eventually

pytestmark = pytest.mark.shared_service

APP = """
import json

from mpchat import HttpHandlerBase, WebsocketHandlerBase, minimal_server_component_list, response


class Chat(WebsocketHandlerBase):
    name = "handler-who"

    async def handle_handshake(self, request, context):
        context.data["handshake"] = context.remote_address

    async def handle(self, chat, context):
        await chat.send(json.dumps([context.data["handshake"], chat.remote_address]))
        await chat.recv()


class Who(HttpHandlerBase):
    name = "handler-whom"

    async def handle_request(self, request, context):
        return response(200, json.dumps(context.remote_address))


def components():
    return minimal_server_component_list().append(Chat).append(Who)
"""
CLIENT = "192.0.2.1"


def v2(host: str, port: int) -> bytes:
    """Return a header that names this client."""
    packed = socket.inet_aton(host) + socket.inet_aton("198.51.100.1")
    return SIGNATURE + struct.pack("!BBH8sHH", 0x21, 0x11, 12, packed, port, 443)


LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "whoever.py").write_text(APP)
    return [*service_command, "--app", "whoever:components"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    manager = service_config_yaml["components_manager"]
    manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
    components = manager["components"]
    del components["websocket-handler"], components["handler-ping"]
    components |= {"handler-who": {"path": "/who"}, "handler-whom": {"path": "/whom"}}
    return service_config_yaml


def listener(**options: Any) -> dict[str, Any]:
    """Return changes to the listener's options, whose names have underscores here."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return {f"server.listener.{name}": value for name, value in named.items()}


@contextlib.asynccontextmanager
async def through_proxy(
    service: Service, header: bytes, **more: Any
) -> AsyncIterator[ClientConnection]:
    """Open a WebSocket on a socket that begins with a header."""
    sock = socket.create_connection(("127.0.0.1", service.port))
    sock.sendall(header)
    async with connect(f"ws://localhost:{service.port}/who", sock=sock, **more) as chat:
        yield chat


@pytest.fixture
def proxied(serve: Serve) -> Iterator[Service]:
    """A service behind a TCP proxy on this host."""
    changes = listener(proxy_protocol="v2", trusted_proxies=["127.0.0.0/8"])
    with serve(changes) as service:
        yield service


@pytest.mark.covers("ListenerOptions.proxy-protocol", "ListenerOptions.trusted-proxies")
async def test_a_proxy_header_says_who_the_client_is(proxied: Service, control: Control) -> None:
    async with through_proxy(proxied, v2(CLIENT, 51234)) as chat:
        assert json.loads(await chat.recv()) == [[CLIENT, 51234]] * 2
        assert [row["peer"] for row in control.connections()] == [f"{CLIENT}:51234"]
    await eventually(
        lambda: f"GET /who 101 from {CLIENT}:51234" in proxied.stderr(), "line with the client"
    )
    # A check of the proxy's own.
    async with through_proxy(proxied, LOCAL) as chat:
        own = list(chat.local_address)
        assert json.loads(await chat.recv()) == [own, own]


async def test_every_worker_reads_the_headers_of_the_sockets_it_keeps(
    proxied: Service, control: Control
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for port in range(1, 41):
            chat = await stack.enter_async_context(through_proxy(proxied, v2(CLIENT, port)))
            assert json.loads(await chat.recv()) == [[CLIENT, port]] * 2
        assert min(worker["connections"] for worker in control.workers()) > 0


async def test_limits_per_address_count_the_clients_of_a_proxy(
    proxied: Service, config_fallback_path: Path
) -> None:
    dynamic_config = FileDynamicConfig(proxied, config_fallback_path)
    dynamic_config.set(MPCHAT_LIMITS={"max_connections_per_address": 1})
    async with through_proxy(proxied, v2(CLIENT, 1)), through_proxy(proxied, v2("192.0.2.2", 1)):
        with pytest.raises(InvalidStatus) as refused:
            async with through_proxy(proxied, v2(CLIENT, 2)):
                pass
        assert message_of(refused.value) == "too many connections from this address"
    dynamic_config.remove("MPCHAT_LIMITS")


async def test_a_page_of_another_origin_is_refused_in_the_name_of_the_client(
    proxied: Service,
) -> None:
    headers = {"Origin": "https://other.example", "Cookie": "session=1"}
    with pytest.raises(InvalidStatus) as refused:
        async with through_proxy(proxied, v2(CLIENT, 7), additional_headers=headers):
            pass
    assert refused.value.response.status_code == 403
    line = f"GET /who 403 from {CLIENT}:7: a request with credentials from another origin"
    await eventually(lambda: line in proxied.stderr(), "line with the client")


async def test_who_is_trusted_and_sends_no_header_is_refused(
    proxied: Service, control: Control
) -> None:
    before = control.limits().get("listener.proxy-protocol", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxied.port)
    own = "{}:{}".format(*writer.get_extra_info("sockname"))
    writer.write(handshake("/who"))
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    line = f"closed before HTTP: not a PROXY header of version 2, from {own}"
    await eventually(lambda: line in proxied.stderr(), "line with the proxy")
    await eventually(
        lambda: control.limits().get("listener.proxy-protocol") == before + 1, "count of it"
    )


async def test_who_is_not_trusted_and_sends_a_header_is_refused(proxied: Service) -> None:
    # Only those on 127.0.0.0/8 are trusted.
    reader, writer = await asyncio.open_connection("::1", proxied.port)
    writer.write(v2(CLIENT, 1) + handshake("/who"))
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    line = "closed before HTTP: not one of trusted-proxies, from [::1]:"
    await eventually(lambda: line in proxied.stderr(), "line with the peer")


@pytest.fixture
def forwarded(serve: Serve) -> Iterator[Service]:
    """A service behind an HTTP proxy on this host."""
    changes = listener(forwarded="x-forwarded-for", trusted_proxies=["127.0.0.1", "10.0.0.0/8"])
    with serve(changes) as service:
        yield service


def whom(service: Service, *lists: str) -> list[Any]:
    """Return the addresses that requests with these X-Forwarded-For on one connection are from."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    with contextlib.closing(connection):
        found = []
        for value in lists:
            connection.request("GET", "/whom", headers={"X-Forwarded-For": value})
            found.append(json.loads(connection.getresponse().read()))
        return found


@pytest.mark.covers("ListenerOptions.forwarded", "ListenerOptions.trusted-proxies")
async def test_each_request_of_a_connection_has_its_own_client(forwarded: Service) -> None:
    lists = (CLIENT, f"203.0.113.7, {CLIENT}:51234, 10.0.0.1", "2001:db8::1", "_hidden")
    found = await asyncio.to_thread(whom, forwarded, *lists)
    assert found[:3] == [[CLIENT, 0], [CLIENT, 51234], ["2001:db8::1", 0, 0, 0]]
    assert found[3][0] == "127.0.0.1"

    def logged() -> list[str]:
        return re.findall(r"GET /whom 200 from (\S+)", forwarded.stderr())

    own = "{}:{}".format(*found[3])
    await eventually(
        lambda: logged() == [CLIENT, f"{CLIENT}:51234", "2001:db8::1", own], "lines of the clients"
    )


async def test_a_websocket_has_the_client_of_its_handshake(
    forwarded: Service, control: Control, config_fallback_path: Path
) -> None:
    dynamic_config = FileDynamicConfig(forwarded, config_fallback_path)
    dynamic_config.set(MPCHAT_LIMITS={"max_connections_per_address": 1})
    url, headers = f"ws://127.0.0.1:{forwarded.port}/who", {"X-Forwarded-For": f"9.9.9.9, {CLIENT}"}
    async with connect(url, additional_headers=headers) as chat:
        assert json.loads(await chat.recv()) == [[CLIENT, 0]] * 2
        assert [row["peer"] for row in control.connections()] == [CLIENT]
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers={"X-Forwarded-For": CLIENT})
        assert message_of(refused.value) == "too many connections from this address"
        other = {"X-Forwarded-For": "192.0.2.2"}
        async with connect(url, additional_headers=other) as second:
            assert json.loads(await second.recv()) == [["192.0.2.2", 0]] * 2
    dynamic_config.remove("MPCHAT_LIMITS")
    # A connection that has ended holds no place.
    await eventually(lambda: not control.connections(), "end of both")
    async with connect(url, additional_headers=headers):
        pass


async def test_nobody_else_says_who_it_is(forwarded: Service) -> None:
    reader, writer = await asyncio.open_connection("::1", forwarded.port)
    writer.write(
        b"GET /whom HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n"
    )
    body = (await reader.read()).rpartition(b"\r\n\r\n")[2]
    assert json.loads(body)[0] == "::1"
    writer.close()


async def test_a_proxy_on_a_unix_socket(serve: Serve, service_tmpdir: Path) -> None:
    path = service_tmpdir / "proxied.sock"
    place = {"server.listener.port": None, "server.listener.unix-socket": str(path)}
    changes = {
        **place,
        **listener(
            proxy_protocol="v1", forwarded="forwarded", trusted_proxies=["unix", "10.0.0.1"]
        ),
    }
    with serve(changes):
        for header, lines, expected in (
            (b"PROXY TCP4 192.0.2.1 192.0.2.9 51234 443\r\n", {}, [CLIENT, 51234]),
            (b"PROXY UNKNOWN\r\n", {}, None),
            # A TCP proxy before an HTTP proxy.
            (
                b"PROXY TCP4 10.0.0.1 192.0.2.9 51234 443\r\n",
                {"Forwarded": 'for=9.9.9.9, for="[2001:db8::1]:7"'},
                ["2001:db8::1", 7, 0, 0],
            ),
            (b"PROXY UNKNOWN\r\n", {"Forwarded": "for=192.0.2.1"}, [CLIENT, 0]),
        ):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(path))
            sock.sendall(header)
            opening = unix_connect(uri="ws://localhost/who", sock=sock, additional_headers=lines)
            async with opening as chat:
                assert json.loads(await chat.recv()) == [expected] * 2
