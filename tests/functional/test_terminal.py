"""What an author sees at a terminal: the log."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.testsuite.clients import WebsocketClient
from tests.kit.raw import HANDLERS
from tests.kit.terminal import OnTerminal
from tests.kit.waiting import eventually

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
Open = Callable[..., OnTerminal]


@pytest.fixture
def config(service_config: Any, service_tmpdir: Path) -> Path:
    """A config that names no format for its log."""
    shutil.copy(HANDLERS, service_tmpdir)
    manager = service_config["components_manager"]
    manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
    manager["components"]["logging"]["loggers"] = {"default": {"file_path": "@stderr"}}
    del manager["components"]["websocket-handler"]
    manager["components"]["handler-failing"] = {"path": "/failing"}
    path = service_tmpdir / "people.yaml"
    path.write_text(yaml.safe_dump(service_config))
    return path


async def test_the_log_is_for_people(
    service_command: list[str], config: Path, service_tmpdir: Path
) -> None:
    command = [*service_command, "--app", "handlers:components", "-c", str(config)]
    with OnTerminal(command, service_tmpdir) as service:
        port = int(service.wait_for(r"ws://localhost:(\d+)/failing, 2 workers\n")[1])
        async with WebsocketClient(port).get("failing") as chat:
            await chat.send("12:00:00.000 INFO 0 \x1b[0m\n")
            await chat.wait_closed()
        service.wait_for(r"closed 1011")
        service.type("\x03")
        assert service.wait() == 0
    assert "\x1b[31mERROR\x1b[0m" in service.shown
    lines = COLOUR.sub("", service.shown).splitlines()
    time = r"\d\d:\d\d:\d\d\.\d{3}"
    heads = [line for line in lines if not line.startswith("  | ")]
    # Ctrl-C is shown as it is typed, and the ready line is not the log's.
    log = [re.fullmatch(rf"(?:\^C)?({time} .*)|mpchat .*", line) for line in heads]
    assert None not in log, service.shown
    said = [re.sub(r"\d+", "N", found[1][13:]) for found in log if found and found[1]]
    assert "INFO supervisor worker main-task-processor/N is ready, pid N" in said
    assert any(
        re.fullmatch(r"INFO N handler-failing N\w+-N GET /failing N from .*", line) for line in said
    )
    below = lines[next(i for i, line in enumerate(lines) if "the handler failed" in line) + 1 :]
    traceback = below[: next(i for i, line in enumerate(below) if not line.startswith("  | "))]
    assert traceback[0] == "  | Traceback (most recent call last):"
    assert traceback[-1].startswith("  | LookupError: no answer to '12:00:00.000 INFO 0 ")


CHAT = """
from mpchat import WebsocketHandlerBase, minimal_server_component_list


class Chat(WebsocketHandlerBase):
    name = "handler-chat"

    async def handle(self, chat, context):
        await chat.send("FIRST")
        async for message in chat:
            pass


components = minimal_server_component_list().append(Chat)
"""


@pytest.fixture
def watched(
    service_command: list[str], service_config: Any, service_tmpdir: Path
) -> tuple[list[str], Path]:
    """The command of a service that is watched, and the file of its code."""
    manager = service_config["components_manager"]
    components = manager["components"]
    for name in ("websocket-handler", "handler-ping"):
        components.pop(name, None)
    components["handler-chat"] = {"path": "/chat"}
    components["logging"]["loggers"] = {"default": {"file_path": "own.log"}}
    path = service_tmpdir / "watched.yaml"
    path.write_text(yaml.safe_dump(service_config))
    code = service_tmpdir / "service.py"
    code.write_text(CHAT)
    return [*service_command, "--dev", "--app", "service:components", "-c", str(path)], code


async def greeting(port: int) -> object:
    async with WebsocketClient(port).get("chat") as chat:
        return await chat.recv()


async def test_a_change_is_served(
    watched: tuple[list[str], Path], service_tmpdir: Path, config_fallback_path: Path
) -> None:
    command, code = watched
    with OnTerminal(command, service_tmpdir) as service:
        port = int(service.wait_for(r"ws://localhost:(\d+)/chat")[1])
        async with WebsocketClient(port).get("chat") as chat:
            code.write_text(CHAT.replace("FIRST", "second"))
            service.wait_for(r"mpchat: service\.py has changed\n")
            service.wait_for(r" restarted\n")
            await chat.wait_closed()
            assert chat.close_code == 1012
        assert await greeting(port) == "second"
        code.write_text(CHAT.replace("async for message", "async four message"))
        service.wait_for(r" not restarted:\n(?s:.*)SyntaxError: ")
        assert await greeting(port) == "second"
        config_fallback_path.write_text('{"USERVER_LOG_REQUEST": false}')
        service.wait_for(r"mpchat: dynamic_config_fallback\.json has changed\n")
        service.wait_for(r"generation \d+ is applied")
        # Nobody tells the service that its watcher is gone but the kernel.
        service.process.kill()
        await eventually(lambda: not listens(port), "end of the service")
    assert not (service_tmpdir / "own.log").exists()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


async def test_a_service_that_does_not_start_waits_to_be_mended(
    watched: tuple[list[str], Path], service_tmpdir: Path
) -> None:
    command, code = watched
    code.write_text("components = [")
    with OnTerminal(command, service_tmpdir) as service:
        service.wait_for(
            r"SyntaxError: (?s:.*)mpchat: the service starts again after the next change\n"
        )
        code.write_text(CHAT)
        port = int(service.wait_for(r"ws://localhost:(\d+)/chat")[1])
        assert await greeting(port) == "FIRST"
        service.type("\x03")
        assert service.wait() == 0
