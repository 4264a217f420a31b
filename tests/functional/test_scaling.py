"""More workers and fewer, while clients connect."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from mpchat.ipc.control import ControlError, ask
from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service, wait_until


@pytest.fixture
def control_socket(service_tmpdir: Path) -> str:
    return str(service_tmpdir / "control.sock")


@pytest.fixture
def service_config_yaml(service_config_yaml: Any, control_socket: str) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    components["server"]["control-socket"] = control_socket
    return service_config_yaml


Scale = Callable[[Any], dict[str, Any]]


@pytest.fixture
def scale(supervisor: Service, control_socket: str) -> Scale:
    return lambda count: ask(control_socket, {"verb": "scale", "count": count})


def workers(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(path, {"verb": "status"})["workers"]
    return found


def states(path: str) -> list[str]:
    return [worker["state"] for worker in workers(path)]


async def assert_all_are_served(client: WebsocketClient) -> None:
    """Connect so often that every socket has had some of the connections."""

    async def talk() -> None:
        async with client.get("chat") as chat:
            await chat.send("hello")
            assert await chat.recv() == "hello"

    await asyncio.gather(*(talk() for _ in range(60)))


async def test_fewer_workers_serve_all_sockets_and_more_take_them_back(
    supervisor: Service, control_socket: str, scale: Scale, websocket_client: WebsocketClient
) -> None:
    chats = [await websocket_client.get("chat") for _ in range(20)]
    assert (await asyncio.to_thread(scale, 1))["workers"] == 1
    away = ["ready", "away", "away", "away"]
    await asyncio.to_thread(wait_until, lambda: states(control_socket) == away, "three away")
    assert len(supervisor.pids("worker")) == 1
    helper = "main-task-processor/0"
    assert [worker["helper"] for worker in workers(control_socket)] == [None] + [helper] * 3
    codes = set()
    for chat in chats:
        try:
            await chat.send("still here")
            assert await chat.recv() == "still here"
        except ConnectionClosed:
            codes.add(chat.close_code)
        await chat.close()
    assert codes == {1012}
    await assert_all_are_served(websocket_client)
    # What has grown never falls, though its slot is away.
    assert ask(control_socket, {"verb": "status"})["totals"]["handshakes"] >= 80
    await asyncio.to_thread(scale, 6)
    assert states(control_socket) == ["ready"] * 6
    await asyncio.to_thread(
        wait_until,
        lambda: [worker["helper"] for worker in workers(control_socket)] == [None] * 6,
        "end of the help",
    )
    await assert_all_are_served(websocket_client)
    assert supervisor.stop() == 0


def wait_for_workers(service: Service, count: int) -> None:
    wait_until(lambda: len(service.pids("worker")) == count, f"{count} workers")


def test_signals_change_the_number_by_one(supervisor: Service, control_socket: str) -> None:
    for number, count in ((signal.SIGTTIN, 5), (signal.SIGTTOU, 4), (signal.SIGTTOU, 3)):
        supervisor.send_signal(number)
        wait_for_workers(supervisor, count)
    wait_until(lambda: states(control_socket).count("ready") == 3, "three ready workers")


def test_the_verb_says_how_it_went(service_config_path_temp: Path, scale: Scale) -> None:
    def verb(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mpchat", "scale", "-c", str(service_config_path_temp)]
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=60, check=False
        )

    assert verb("2").stdout == "2 workers are ready\n"
    assert json.loads(verb("1", "--json").stdout) == {"workers": 1}
    assert verb("257").returncode == 64
    for count in (0, 257):
        with pytest.raises(ControlError, match="a service has 1 to 256 workers"):
            scale(count)
    with pytest.raises(ControlError, match="needs the number of workers"):
        scale("many")


BROKEN = """
import os

from mpchat import WebsocketHandlerBase, minimal_server_component_list


class Echo(WebsocketHandlerBase):
    name = "websocket-handler"

    async def start(self):
        if os.path.exists("broken"):
            raise RuntimeError("the database is not there")

    async def handle(self, chat, context):
        pass


def components():
    return minimal_server_component_list().append(Echo)
"""


def test_a_worker_that_does_not_start_is_told(
    service_command: list[str], service_config_yaml: Any, control_socket: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    del service_config_yaml["components_manager"]["components"]["handler-ping"]
    config = tmp_path / "broken.yaml"
    config.write_text(json.dumps(service_config_yaml))
    service = Service([*service_command, "--app", "broken:components", "-c", str(config)], tmp_path)
    try:
        service.wait_ready()
        (tmp_path / "broken").touch()
        with pytest.raises(ControlError) as caught:
            ask(control_socket, {"verb": "scale", "count": 5})
        assert str(caught.value).startswith("main-task-processor/4 does not start")
        assert "RuntimeError: the database is not there" in str(caught.value)
        (tmp_path / "broken").unlink()
        wait_until(lambda: states(control_socket) == ["ready"] * 5, "five workers after all")
        assert service.stop() == 0
    finally:
        service.close()


def test_a_terminal_scales_nothing(service_start_command: list[str], service_tmpdir: Path) -> None:
    main, side = pty.openpty()
    # The service is started in a session of its own, which takes the first terminal that it opens.
    shell = ["sh", "-c", 'exec 3<>"$0"; exec "$@"', os.ttyname(side)]
    service = Service([*shell, *service_start_command], service_tmpdir)
    try:
        service.wait_ready()
        service.send_signal(signal.SIGTTOU)
        wait_until(lambda: "SIGTTOU is ignored in a service that has" in service.stderr(), "a line")
        assert len(service.pids("worker")) == 4
        assert service.stop() == 0
    finally:
        service.close()
        os.close(main)
        os.close(side)
