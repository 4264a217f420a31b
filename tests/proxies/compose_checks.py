"""deploy/compose/haproxy.cfg in a real HAProxy, in front of three services: `make proxies`.

Not named as tests are, so that `make test` leaves it out: it needs HAProxy.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import DEADLINE, Service, wait_until
from tests.docs.pages import ROOT
from tests.kit.waiting import eventually
from tests.proxies.proxy import free_port

COMPOSE = ROOT / "deploy" / "compose"
CONFIG = COMPOSE / "haproxy.cfg"
SERVERS = ("chat1", "chat2", "chat3")


class Haproxy:
    """The HAProxy of compose.yaml; ``ports`` are those of the servers, in the file's order."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        self.port = free_port()
        text = CONFIG.read_text()
        changes = {"bind :8080": f"bind 127.0.0.1:{self.port}"}
        for name, port in zip(SERVERS, ports, strict=True):
            changes[f"{name}:8080"] = f"127.0.0.1:{port}"
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        config = folder / "haproxy.cfg"
        config.write_text(text)
        self._log = folder / "haproxy.log"
        with self._log.open("wb") as log:
            # As the image starts it.
            self._process = subprocess.Popen(
                [program(), "-W", "-db", "-f", str(config)], stdout=log, stderr=log
            )

    def log(self) -> str:
        """Return what it wrote."""
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until it has written this."""
        wait_until(lambda: text in self.log(), f"{text!r} in the log of HAProxy")

    def stop(self) -> None:
        """Tell it to stop as the image's engine does."""
        self._process.send_signal(signal.SIGUSR1)

    def wait_ended(self) -> None:
        """Wait until it has ended by itself."""
        self._process.wait(DEADLINE)

    def close(self) -> None:
        """End it, and show what it wrote with a check that fails."""
        self._process.terminate()
        self._process.wait(DEADLINE)
        print(self.log())


def program() -> str:
    # Users who are not root have no /usr/sbin in their PATH.
    found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise RuntimeError("not installed: haproxy (.ci/run installs it)")
    return found


@pytest.fixture
def services(tmp_path: Path) -> Iterator[list[Service]]:
    """Two echo services that stop as those of compose.yaml do."""
    config = yaml.safe_load((ROOT / "static_config.yaml").read_text())
    manager = config["components_manager"]
    theirs = yaml.safe_load((COMPOSE / "static_config.yaml").read_text())["components_manager"]
    manager |= {name: value for name, value in theirs.items() if name.startswith("graceful")}
    manager["task_processors"]["main-task-processor"]["worker_threads"] = 1
    components = manager["components"]
    components["server"]["listener"]["port"] = 0
    fallback = ROOT / "dynamic_config_fallback.json"
    components["dynamic-config-fallbacks"]["fallback-path"] = str(fallback)
    started: list[Service] = []
    try:
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            components["server"]["control-socket"] = str(folder / "control.sock")
            path = folder / "static_config.yaml"
            path.write_text(yaml.safe_dump(config))
            command = [sys.executable, "-m", "mpchat", "serve", "-c", str(path)]
            started.append(Service(command, folder))
        for service in started:
            service.wait_ready()
        yield started
    finally:
        for service in started:
            service.close()


@pytest.fixture
def haproxy(services: list[Service], tmp_path: Path) -> Iterator[Haproxy]:
    """In front of both, and of a third one that has died."""
    one, two = services
    with closing(Haproxy(tmp_path, [one.port, two.port, free_port()])) as haproxy:
        yield haproxy


async def assert_echoes(chat: ClientConnection) -> None:
    await chat.send("hello")
    assert await asyncio.wait_for(chat.recv(), DEADLINE) == "hello"


async def assert_serves(haproxy: Haproxy) -> None:
    async with WebsocketClient(haproxy.port).get("chat") as chat:
        await assert_echoes(chat)


def test_haproxy_takes_the_file_as_it_is() -> None:
    subprocess.run([program(), "-c", "-f", str(CONFIG)], check=True)


async def test_no_handshake_is_refused_while_a_service_stops(
    services: list[Service], haproxy: Haproxy
) -> None:
    _stays, stops = services
    await asyncio.to_thread(haproxy.wait_for, "chat3 is DOWN")
    clients = [await WebsocketClient(haproxy.port).get("chat") for _ in services]
    stops.send_signal(signal.SIGTERM)
    while stops.process.poll() is None:
        await assert_serves(haproxy)
    # HAProxy saw it by the answer to its check, so the port was still open.
    await asyncio.to_thread(
        haproxy.wait_for, "chat2 is DOWN, reason: Layer7 wrong status, code: 503"
    )
    # Each service had one of them, since the other had one already.
    await eventually(lambda: any(client.close_code for client in clients), "Close")
    one, two = sorted(clients, key=lambda client: client.close_code or 0)
    assert two.close_code == 1001
    await assert_echoes(one)
    await one.close()


async def test_a_service_that_dies_is_passed_over_before_a_check_finds_out(
    services: list[Service], haproxy: Haproxy
) -> None:
    await asyncio.to_thread(haproxy.wait_for, "chat3 is DOWN")
    os.killpg(services[1].pid, signal.SIGKILL)
    while "chat2 is DOWN" not in haproxy.log():
        await assert_serves(haproxy)


async def test_where_all_stop_together_clients_are_told_and_haproxy_ends_behind_them(
    services: list[Service], haproxy: Haproxy
) -> None:
    await asyncio.to_thread(haproxy.wait_for, "chat3 is DOWN")
    clients = [await WebsocketClient(haproxy.port).get("chat") for _ in services]
    haproxy.stop()
    for service in services:
        service.send_signal(signal.SIGTERM)
    for client in clients:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), DEADLINE)
        assert client.close_code == 1001
    await asyncio.to_thread(haproxy.wait_ended)
