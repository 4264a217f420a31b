"""Siblings accept for a slot whose own worker cannot."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service
from tests.kit.control import Control
from tests.kit.echo import BREAKABLE, assert_all_are_served
from tests.kit.waiting import eventually


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "app.py").write_text(BREAKABLE)
    return [*service_command, "--app", "app:components"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    del service_config_yaml["components_manager"]["components"]["handler-ping"]
    return service_config_yaml


@pytest.fixture
def frozen(supervisor: Service) -> Iterator[int]:
    pid = next(
        pid
        for pid, title in supervisor.children().items()
        if title.endswith("main-task-processor/2")
    )
    supervisor.freeze(pid)
    yield pid
    supervisor.thaw(pid)


async def test_a_worker_that_stands_still_keeps_no_client_waiting(
    supervisor: Service, frozen: int, control: Control, websocket_client: WebsocketClient
) -> None:
    await eventually(lambda: control.workers()[2]["helper"], "helper")
    assert control.workers()[2]["helper"] == "main-task-processor/3"
    await assert_all_are_served(websocket_client)
    assert control.workers()[2]["silent_seconds"] > 0.5
    supervisor.thaw(frozen)
    await eventually(lambda: not control.workers()[2]["helper"], "end of the help")
    await assert_all_are_served(websocket_client)


async def test_slots_that_crash_at_once_are_served_by_their_siblings(
    supervisor: Service,
    service_tmpdir: Path,
    control: Control,
    websocket_client: WebsocketClient,
) -> None:
    (service_tmpdir / "broken").touch()
    for slot in (1, 2):
        os.kill(control.workers()[slot]["pid"], signal.SIGKILL)

    def helpers(*slots: int) -> set[str | None]:
        workers = control.workers()
        return {workers[slot]["helper"] for slot in slots}

    # For a moment one of the two that are gone may be thought to help the other.
    expected = {"main-task-processor/0", "main-task-processor/3"}
    await eventually(lambda: helpers(1, 2) == expected, "two helpers")
    await assert_all_are_served(websocket_client)
    # The helper itself goes: the last worker serves all four slots.
    os.kill(control.workers()[3]["pid"], signal.SIGKILL)
    await eventually(lambda: helpers(1, 2, 3) == {"main-task-processor/0"}, "one helper of all")
    await assert_all_are_served(websocket_client)
    (service_tmpdir / "broken").unlink()
    await eventually(
        lambda: [w["helper"] for w in control.workers()] == [None] * 4,
        "end of the help",
    )
    await assert_all_are_served(websocket_client)
    assert supervisor.stop() == 0
