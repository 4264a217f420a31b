"""What an author sees at a terminal: the log."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.testsuite.clients import WebsocketClient
from tests.kit.raw import HANDLERS
from tests.kit.terminal import OnTerminal

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
