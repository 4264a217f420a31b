"""Signals that come while a service loads are acted upon when it has loaded."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import yaml

from mpchat.testsuite.service import Service
from tests.kit.waiting import eventually

SLOW = """
import pathlib, time
from mpchat import default_component_list as components

pathlib.Path("loading").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.01)
"""


async def test_signals_that_come_while_a_service_loads_are_not_lost(
    service_command: list[str], service_config: Any, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    config = tmp_path / "slow.yaml"
    pools = service_config["components_manager"]["task_processors"]
    pools["main-task-processor"]["worker_threads"] = 1
    config.write_text(yaml.safe_dump(service_config))
    command = [*service_command, "--app", "slow:components", "-c", str(config)]
    service = Service(command, tmp_path)
    try:
        await eventually((tmp_path / "loading").exists, "a module that is being imported")
        service.send_signal(signal.SIGHUP)
        service.send_signal(signal.SIGTTIN)
        (tmp_path / "go").touch()
        await asyncio.to_thread(service.wait_ready)
        await eventually(
            lambda: "dynamic config generation 2 is applied" in service.stderr(),
            "a reload",
        )
        await eventually(lambda: len(service.pids("worker")) == 2, "one worker more")
    finally:
        service.close()
