"""mpchat behind real proxies, with the files of deploy/ and what docs/proxies.md prints: `make proxies`.

Not named as tests are, so that `make test` leaves it out: it needs nginx, Caddy and HAProxy.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mpchat.config.types import parse_duration
from mpchat.ipc.control import ask
from mpchat.testsuite.reporting import report_log_of
from mpchat.testsuite.service import DEADLINE, Service, wait_until
from tests.docs.pages import ROOT
from tests.proxies.proxy import CLIENT, Caddy, Haproxy, Nginx, Proxy, page_block, page_blocks

BY_HEADER, BY_PROTOCOL, BY_LIST = map(yaml.safe_load, page_blocks("yaml"))
LOCAL = {"trusted-proxies": ["127.0.0.1"]}
FORWARDED = {**BY_HEADER["server"]["listener"], **LOCAL}
"""The page's options, for proxies on this host"""
LAMEDUCK = json.loads(page_block("json"))["MPCHAT_DRAIN"]["lameduck_ms"] / 1000
MIB = 1024 * 1024
IDLE = 2.0
"""Seconds, twice what nginx and HAProxy allow."""


class Mpchat:
    """The service of static_config.yaml, whose handler's options a test may change."""

    def __init__(
        self, folder: Path, listener: dict[str, Any], lameduck: float | None = None
    ) -> None:
        self._config = yaml.safe_load((ROOT / "static_config.yaml").read_text())
        manager = self._config["components_manager"]
        manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
        components = manager["components"]
        components["server"]["listener"] |= {"port": 0, **listener}
        self._control = str(folder / "control.sock")
        components["server"]["control-socket"] = self._control
        variables = json.loads((ROOT / "dynamic_config_fallback.json").read_text())
        if lameduck is not None:
            variables["MPCHAT_DRAIN"] = {"lameduck_ms": round(lameduck * 1000)}
        fallback = folder / "dynamic_config_fallback.json"
        fallback.write_text(json.dumps(variables))
        components["dynamic-config-fallbacks"]["fallback-path"] = str(fallback)
        self._handler = components["websocket-handler"]
        self._handler |= {
            "max-remote-payload": 2 * MIB,
            "permessage-deflate": True,
            "ping-interval": "250ms",
        }
        self._usual = dict(self._handler)
        self._path = folder / "static_config.yaml"
        self._write()
        command = [sys.executable, "-m", "mpchat", "serve", "-c", str(self._path)]
        self.service = Service(command, folder)

    def peers(self) -> list[str]:
        """Return the addresses that it has for the clients of its connections."""
        rows = ask(self._control, {"verb": "connections"})["connections"]
        return [row["peer"] for row in rows]

    async def restart(self) -> None:
        """Restart every worker; return when the new ones serve."""
        await asyncio.to_thread(ask, self._control, {"verb": "restart"})

    async def serve_with(self, changes: dict[str, Any]) -> None:
        """Serve with these changes to the usual options, by a restart unless that is so already."""
        options = {**self._usual, **changes}
        if self._handler != options:
            self._handler.clear()
            self._handler |= options
            self._write()
            await self.restart()

    def _write(self) -> None:
        self._path.write_text(yaml.safe_dump(self._config))


@pytest.fixture(scope="module")
def shared_mpchat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mpchat]:
    mpchat = Mpchat(tmp_path_factory.mktemp("mpchat"), FORWARDED)
    with closing(mpchat.service):
        mpchat.service.wait_ready()
        yield mpchat


@pytest.fixture
async def mpchat(shared_mpchat: Mpchat, request: pytest.FixtureRequest) -> Mpchat:
    report_log_of(shared_mpchat.service, request.node)
    await shared_mpchat.serve_with(getattr(request, "param", {}))
    return shared_mpchat


@pytest.fixture(scope="module")
def proxies(
    shared_mpchat: Mpchat, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Proxy]]:
    started: dict[str, Proxy] = {}
    try:
        for kind in (Nginx, Caddy, Haproxy):
            folder = tmp_path_factory.mktemp(kind.language)
            started[kind.language] = kind(folder, [shared_mpchat.service.port])
        for proxy in started.values():
            proxy.wait_ready()
        yield started
    finally:
        for proxy in started.values():
            proxy.close()


@pytest.fixture(params=["nginx", "caddy", "haproxy"])
def proxy(
    request: pytest.FixtureRequest, mpchat: Mpchat, proxies: dict[str, Proxy]
) -> Iterator[Proxy]:
    proxy = proxies[request.param]
    yield proxy
    # Shown with a check that fails.
    print(proxy.log())


async def assert_echoes(chat: ClientConnection, message: str | bytes = "hello") -> None:
    await chat.send(message)
    assert await asyncio.wait_for(chat.recv(), DEADLINE) == message


async def refused(proxy: Proxy, origin: str | None = None) -> int:
    """Return the status that refuses a handshake."""
    with pytest.raises(InvalidStatus) as caught:
        async with proxy.browser(origin):
            pass
    return caught.value.response.status_code


async def close_code(chat: ClientConnection) -> int | None:
    """Wait until the connection is closed."""
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(chat.recv(), DEADLINE)
    return chat.close_code


async def test_own_pages_connect_with_a_cookie_and_others_do_not(proxy: Proxy) -> None:
    async with proxy.browser() as chat:
        await assert_echoes(chat)
    # The port belongs to an origin.
    assert await refused(proxy, "https://chat.example.com") == 403


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_a_mebibyte_comes_back(proxy: Proxy, compression: str | None) -> None:
    async with proxy.browser(compression=compression) as chat:
        assert chat.response is not None
        assert ("Sec-WebSocket-Extensions" in chat.response.headers) == (compression is not None)
        await assert_echoes(chat, os.urandom(MIB))


async def test_close_codes_pass(proxy: Proxy) -> None:
    async with proxy.browser() as chat:
        # It may be over while the client still sends.
        with pytest.raises(ConnectionClosed):
            await chat.send(bytes(2 * MIB + 1))
            await asyncio.wait_for(chat.recv(), DEADLINE)
        assert chat.close_code == 1009


async def test_mpchat_knows_the_client_whatever_that_says(proxy: Proxy, mpchat: Mpchat) -> None:
    before = len(mpchat.service.stderr())
    answer = await asyncio.to_thread(proxy.get, "/ping", "X-Forwarded-For: 192.0.2.1, 127.0.0.1")
    assert answer.startswith("HTTP/1.1 200 ")
    line = f"GET /ping 200 from {CLIENT}\n"
    await asyncio.to_thread(
        wait_until, lambda: line in mpchat.service.stderr()[before:], f"{line!r} in the log"
    )
    assert "192.0.2.1" not in mpchat.service.stderr()
    async with proxy.browser():
        assert await asyncio.to_thread(mpchat.peers) == [CLIENT]


async def test_pings_keep_quiet_connections_open_for_longer_than_the_limits(
    mpchat: Mpchat, proxies: dict[str, Proxy]
) -> None:
    async def stay_quiet(proxy: Proxy) -> None:
        async with proxy.browser() as chat:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(chat.recv(), IDLE)
            await assert_echoes(chat)

    await asyncio.gather(*map(stay_quiet, proxies.values()))


async def test_a_restart_of_mpchat_is_1012_and_new_connections_are_served(
    mpchat: Mpchat, proxies: dict[str, Proxy]
) -> None:
    chats = [await proxy.browser() for proxy in proxies.values()]
    await mpchat.restart()
    assert [await close_code(chat) for chat in chats] == [1012] * 3
    for proxy in proxies.values():
        async with proxy.browser() as chat:
            await assert_echoes(chat)


async def test_a_reload_of_nginx_or_haproxy_leaves_connections_open(
    mpchat: Mpchat, proxies: dict[str, Proxy]
) -> None:
    for name in ("nginx", "haproxy"):
        async with proxies[name].browser() as chat:
            await asyncio.to_thread(proxies[name].reload)
            await assert_echoes(chat)


async def test_a_reload_of_caddy_closes_connections(
    mpchat: Mpchat, proxies: dict[str, Proxy]
) -> None:
    async with proxies["caddy"].browser() as chat:
        await asyncio.to_thread(proxies["caddy"].reload)
        # 1001, or what mpchat answers to Caddy's unmasked Close, or none: it is a race within Caddy.
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(chat.recv(), DEADLINE)


@pytest.mark.parametrize(
    ("line", "instead", "status"),
    [
        ("proxy_set_header Host $http_host;", "proxy_set_header Host $host;", 403),
        ("proxy_set_header Host $http_host;", "", 403),
        ("proxy_set_header Upgrade $http_upgrade;", "", 426),
        ("proxy_set_header Connection $connection_upgrade;", "", 426),
        ("proxy_http_version 1.1;", "proxy_http_version 1.0;", 426),
    ],
)
async def test_nginx_with_a_mistake_is_refused_as_the_page_says(
    mpchat: Mpchat, tmp_path: Path, line: str, instead: str, status: int
) -> None:
    with closing(Nginx(tmp_path, [mpchat.service.port], {line: instead})) as nginx:
        await asyncio.to_thread(nginx.wait_ready)
        assert await refused(nginx) == status


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
@pytest.mark.parametrize(("check", "status"), [("", 400), (" check", 503)])
async def test_send_proxy_alone_is_refused(
    mpchat: Mpchat, tmp_path: Path, option: str, check: str, status: int
) -> None:
    other = {"default-server check": f"default-server {option}{check}"}
    with closing(Haproxy(tmp_path, [mpchat.service.port], other)) as haproxy:
        await asyncio.to_thread(haproxy.wait_for_status, status)
        assert await refused(haproxy) == status


@pytest.mark.parametrize(("version", "option"), [("v1", "send-proxy"), ("v2", "send-proxy-v2")])
async def test_haproxy_may_say_it_by_the_proxy_protocol(
    tmp_path: Path, version: str, option: str
) -> None:
    # As the page says.
    other = {
        "    option forwardfor\n": "",
        "default-server check": f"default-server {option} check",
    }
    listener = {**BY_PROTOCOL["server"]["listener"], **LOCAL, "proxy-protocol": version}
    mpchat = Mpchat(tmp_path, listener)
    with closing(mpchat.service):
        await asyncio.to_thread(mpchat.service.wait_ready)
        with closing(Haproxy(tmp_path, [mpchat.service.port], other)) as haproxy:
            await asyncio.to_thread(haproxy.wait_ready)
            async with haproxy.browser() as chat:
                await assert_echoes(chat)
                host, port = chat.local_address
                assert await asyncio.to_thread(mpchat.peers) == [f"{host}:{port}"]
                assert host == CLIENT
            # Its checks have passed; they come from HAProxy itself.
            assert "DOWN" not in haproxy.log()
            assert "GET /ping 200 from 127.0.0.1:" in mpchat.service.stderr()


async def opened(proxy: Proxy, hosts: Sequence[Mpchat]) -> tuple[Mpchat, ClientConnection]:
    """Open a WebSocket; return it with the host that has got it."""
    before = [len(host.peers()) for host in hosts]
    chat = await proxy.browser()
    (host,) = [host for host, old in zip(hosts, before, strict=True) if len(host.peers()) > old]
    return host, chat


async def ended(chat: ClientConnection, host: Mpchat) -> None:
    """Close a WebSocket; return when its host knows it."""
    count = len(host.peers())
    await chat.close()
    await asyncio.to_thread(wait_until, lambda: len(host.peers()) < count, "end of a WebSocket")


async def two_at_each(proxy: Proxy, hosts: Sequence[Mpchat]) -> list[ClientConnection]:
    """Return WebSockets that a proxy has dealt, each to the host with the fewest."""
    chats: list[ClientConnection] = []
    for _ in range(2):
        first, chat = await opened(proxy, hosts)
        second, last = await opened(proxy, hosts)
        assert first is not second
        await ended(last, second)
        # In turn, the next one would be for the first host.
        third, again = await opened(proxy, hosts)
        assert third is second
        chats += [chat, again]
    return chats


async def test_a_drain_is_seen_before_the_stop_and_costs_no_client_a_try(
    mpchat: Mpchat, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Long enough for all that follows; a second signal ends it.
    leaving = Mpchat(tmp_path_factory.mktemp("leaving"), FORWARDED, lameduck=60)
    with closing(leaving.service) as service:
        await asyncio.to_thread(service.wait_ready)
        ports = [service.port, mpchat.service.port]
        with (
            closing(Nginx(tmp_path_factory.mktemp("nginx"), ports)) as nginx,
            closing(Haproxy(tmp_path_factory.mktemp("haproxy"), ports)) as haproxy,
        ):
            chats: list[ClientConnection] = []
            for proxy in (nginx, haproxy):
                await asyncio.to_thread(proxy.wait_ready)
                chats += await two_at_each(proxy, (leaving, mpchat))
            service.process.terminate()
            async with asyncio.timeout(DEADLINE):
                while "Server mpchat/one is DOWN" not in haproxy.log():
                    await assert_both_serve(nginx, haproxy)
            # Before anybody had to go.
            for chat in chats:
                await assert_echoes(chat)
            assert len(leaving.peers()) == 4
            service.process.terminate()
            assert await asyncio.to_thread(service.process.wait, DEADLINE) == 0
            await assert_both_serve(nginx, haproxy)
            for chat in chats:
                await chat.close()


async def assert_both_serve(*proxies: Proxy) -> None:
    for proxy in proxies:
        async with proxy.browser() as chat:
            await assert_echoes(chat)


def test_the_lameduck_of_the_page_is_longer_than_haproxy_needs() -> None:
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    found = re.search(r"default-server check inter (\w+) fall (\d+)", text)
    assert found is not None
    assert parse_duration(found[1]) * int(found[2]) < LAMEDUCK


# The last ones, since those after them would wait for another restart.


@pytest.mark.parametrize("mpchat", [{"ping-interval": "0s"}], ids=["no-pings"], indirect=True)
async def test_without_pings_nginx_and_haproxy_end_quiet_connections(
    mpchat: Mpchat, proxies: dict[str, Proxy]
) -> None:
    async with proxies["caddy"].browser() as unlimited:
        for name in ("nginx", "haproxy"):
            assert await close_code(await proxies[name].browser()) == 1006
        await assert_echoes(unlimited)


@pytest.mark.parametrize(
    "mpchat", [BY_LIST["websocket-handler"]], ids=["allowed-origins"], indirect=True
)
async def test_where_host_is_not_passed_on_allowed_origins_names_the_pages(
    mpchat: Mpchat, tmp_path: Path
) -> None:
    mistake = {"proxy_set_header Host $http_host;": ""}
    with closing(Nginx(tmp_path, [mpchat.service.port], mistake)) as nginx:
        await asyncio.to_thread(nginx.wait_ready)
        async with nginx.browser("https://chat.example.com") as chat:
            await assert_echoes(chat)
        assert await refused(nginx, "https://other.example.com") == 403
