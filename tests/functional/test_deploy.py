"""A deploy by symbolic link: ``current``, where the service was started, is turned to another release."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.ipc.control import ControlError
from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service
from tests.kit.control import Control
from tests.kit.waiting import eventually

APP = """
from mpchat import WebsocketHandlerBase, minimal_server_component_list

class Chat(WebsocketHandlerBase):
    name = "websocket-handler"

    async def handle(self, chat, context):
        await chat.send("release {number}")

components = minimal_server_component_list().append(Chat)
"""


async def test_a_restart_loads_the_release_of_now(
    service_command: list[str],
    service_config: Any,
    control: Control,
    tmp_path: Path,
) -> None:
    components = service_config["components_manager"]["components"]
    del components["handler-ping"]
    for number in (1, 2):
        release = tmp_path / "releases" / str(number)
        release.mkdir(parents=True)
        (release / "app.py").write_text(APP.format(number=number))
        (release / "static.yaml").write_text(yaml.safe_dump(service_config))
    current = tmp_path / "current"
    current.symlink_to("releases/1")
    command = ["env", "-C", str(current), f"PWD={current}", *service_command]
    service = Service([*command, "-c", "static.yaml", "--app", "app:components"], tmp_path)
    try:
        await asyncio.to_thread(service.wait_ready)
        client = WebsocketClient(service.port)

        async def served() -> object:
            async with client.get("/chat") as chat:
                return await chat.recv()

        async def restart() -> None:
            await asyncio.to_thread(control.restart)

        async def replace_template(done: int) -> None:
            # A restart is done before the old one is gone.
            await eventually(lambda: len(service.pids("template")) == 1, "one template")
            os.kill(service.pids("template")[0], signal.SIGKILL)
            await eventually(
                lambda: service.stderr().count("is ready in place") == done,
                "another template",
            )

        assert await served() == "release 1"
        (tmp_path / "next").symlink_to("releases/2")
        (tmp_path / "next").rename(current)
        # What only replaces a process of the running release is of that release.
        await replace_template(1)
        await asyncio.to_thread(control.restart, 0)
        assert await served() == "release 1"
        await restart()
        assert await served() == "release 2"
        shutil.rmtree(tmp_path / "releases" / "1")
        await restart()
        await replace_template(2)
        assert await served() == "release 2"
        current.unlink()
        with pytest.raises(ControlError, match=f"No such file or directory: '{current}'"):
            await restart()
        assert await served() == "release 2"
    finally:
        service.close()
