"""More workers and fewer, while clients connect."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from mpchat.ipc.control import ControlError
from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service, wait_until
from tests.kit.control import Control
from tests.kit.echo import BREAKABLE, assert_all_are_served
from tests.kit.verbs import Mpchat
from tests.kit.waiting import eventually


async def test_fewer_workers_serve_all_sockets_and_more_take_them_back(
    supervisor: Service, control: Control, websocket_client: WebsocketClient
) -> None:
    chats = [await websocket_client.get("chat") for _ in range(20)]
    assert (await asyncio.to_thread(control.scale, 1))["workers"] == 1
    away = ["ready", "away", "away", "away"]
    await eventually(lambda: control.states() == away, "three away")
    assert len(supervisor.pids("worker")) == 1
    helper = "main-task-processor/0"
    helped = [None] + [helper] * 3
    await eventually(
        lambda: [worker["helper"] for worker in control.workers()] == helped, "one helper for all"
    )
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
    await eventually(lambda: control.totals()["handshakes"] >= 80, "all handshakes")
    await asyncio.to_thread(control.scale, 6)
    assert control.states() == ["ready"] * 6
    await eventually(
        lambda: [worker["helper"] for worker in control.workers()] == [None] * 6,
        "end of the help",
    )
    await assert_all_are_served(websocket_client)
    assert supervisor.stop() == 0


def wait_for_workers(service: Service, count: int) -> None:
    wait_until(lambda: len(service.pids("worker")) == count, f"{count} workers")


def test_signals_change_the_number_by_one(supervisor: Service, control: Control) -> None:
    for number, count in ((signal.SIGTTIN, 5), (signal.SIGTTOU, 4), (signal.SIGTTOU, 3)):
        supervisor.send_signal(number)
        wait_for_workers(supervisor, count)
    wait_until(lambda: control.states().count("ready") == 3, "three ready workers")


def test_the_verb_says_how_it_went(
    mpchat: Mpchat, supervisor: Service, service_config_path_temp: Path, control: Control
) -> None:
    def verb(*arguments: str) -> subprocess.CompletedProcess[str]:
        return mpchat("scale", "-c", str(service_config_path_temp), *arguments)

    assert verb("2").stdout == "2 workers are ready\n"
    assert json.loads(verb("1", "--json").stdout) == {"workers": 1}
    assert verb("257").returncode == 64
    for count in (0, 257):
        with pytest.raises(ControlError, match="a service has 1 to 256 workers"):
            control.scale(count)
    with pytest.raises(ControlError, match="needs the number of workers"):
        control.scale("many")


def test_a_worker_that_does_not_start_is_told(
    service_command: list[str], service_config_yaml: Any, control: Control, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(BREAKABLE)
    del service_config_yaml["components_manager"]["components"]["handler-ping"]
    config = tmp_path / "broken.yaml"
    config.write_text(json.dumps(service_config_yaml))
    service = Service([*service_command, "--app", "broken:components", "-c", str(config)], tmp_path)
    try:
        service.wait_ready()
        (tmp_path / "broken").touch()
        with pytest.raises(ControlError) as caught:
            control.scale(5)
        assert str(caught.value).startswith("main-task-processor/4 does not start")
        assert "RuntimeError: the database is not there" in str(caught.value)
        (tmp_path / "broken").unlink()
        wait_until(lambda: control.states() == ["ready"] * 5, "five workers after all")
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
