"""mpchat behind the real proxies of docs/proxies.md: `make proxies`.

Not named as tests are, so that `make test` leaves it out: it needs nginx, Caddy and HAProxy.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mpchat.ipc.control import ask
from mpchat.testsuite.reporting import report_log_of
from mpchat.testsuite.service import DEADLINE, Service, wait_until
from tests.docs.pages import ROOT
from tests.proxies.proxy import Caddy, Haproxy, Nginx, Proxy, page_block

ALLOWED = yaml.safe_load(page_block("yaml"))["websocket-handler"]
MIB = 1024 * 1024
IDLE = 2.0
"""Seconds, twice what nginx and HAProxy allow."""


class Mpchat:
    """The service of static_config.yaml, whose handler's options a test may change."""

    def __init__(self, folder: Path) -> None:
        self._config = yaml.safe_load((ROOT / "static_config.yaml").read_text())
        manager = self._config["components_manager"]
        manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
        components = manager["components"]
        components["server"]["listener"]["port"] = 0
        self._control = str(folder / "control.sock")
        components["server"]["control-socket"] = self._control
        components["dynamic-config-fallbacks"]["fallback-path"] = str(
            ROOT / "dynamic_config_fallback.json"
        )
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
    mpchat = Mpchat(tmp_path_factory.mktemp("mpchat"))
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
            started[kind.language] = kind(folder, shared_mpchat.service.port)
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


async def test_ping_answers_and_the_log_has_the_address_of_the_proxy(
    proxy: Proxy, mpchat: Mpchat
) -> None:
    before = len(mpchat.service.stderr())
    answer = await asyncio.to_thread(proxy.get, "/ping", "X-Forwarded-For: 192.0.2.1")
    assert answer.startswith("HTTP/1.1 200 ")
    line = "GET /ping 200 from 127.0.0.1:"
    await asyncio.to_thread(
        wait_until, lambda: line in mpchat.service.stderr()[before:], f"{line!r} in the log"
    )
    assert "192.0.2.1" not in mpchat.service.stderr()


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
    with closing(Nginx(tmp_path, mpchat.service.port, {line: instead})) as nginx:
        await asyncio.to_thread(nginx.wait_ready)
        assert await refused(nginx) == status


@pytest.mark.parametrize(("option", "status"), [("send-proxy", 400), ("send-proxy check", 503)])
async def test_send_proxy_is_refused(
    mpchat: Mpchat, tmp_path: Path, option: str, status: int
) -> None:
    with closing(Haproxy(tmp_path, mpchat.service.port, {" check": f" {option}"})) as haproxy:
        await asyncio.to_thread(haproxy.wait_for_status, status)
        assert await refused(haproxy) == status


# The last ones, since those after them would wait for another restart.


@pytest.mark.parametrize("mpchat", [{"ping-interval": "0s"}], ids=["no-pings"], indirect=True)
async def test_without_pings_nginx_and_haproxy_end_quiet_connections(
    mpchat: Mpchat, proxies: dict[str, Proxy]
) -> None:
    async with proxies["caddy"].browser() as unlimited:
        for name in ("nginx", "haproxy"):
            assert await close_code(await proxies[name].browser()) == 1006
        await assert_echoes(unlimited)


@pytest.mark.parametrize("mpchat", [ALLOWED], ids=["allowed-origins"], indirect=True)
async def test_where_host_is_not_passed_on_allowed_origins_names_the_pages(
    mpchat: Mpchat, tmp_path: Path
) -> None:
    mistake = {"proxy_set_header Host $http_host;": ""}
    with closing(Nginx(tmp_path, mpchat.service.port, mistake)) as nginx:
        await asyncio.to_thread(nginx.wait_ready)
        async with nginx.browser("https://chat.example.com") as chat:
            await assert_echoes(chat)
        assert await refused(nginx, "https://other.example.com") == 403
