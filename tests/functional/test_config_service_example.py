"""The config service of the examples beside a service that follows it: changes arrive, and faults do not.

Rules. Both run as users run them. The config service gets a new value, is broken, stands still, and is
killed; the service that follows it goes on with its last values all the while.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.clients import ServiceClient
from mpchat.testsuite.reporting import report_log_of
from mpchat.testsuite.service import DEADLINE, Service, wait_until
from tests.docs.pages import ROOT
from tests.kit.control import Control
from tests.kit.ports import free_port

EXAMPLE = ROOT / "docs" / "examples" / "config_service"
FOLLOWER = """
import os

from mpchat import HttpHandlerBase, Key, daemon_main, minimal_server_component_list, response

GREETING = Key("GREETING", str, default="static default")


class Greeter(HttpHandlerBase):
    name = "handler-greeter"
    dynamic_config_keys = (GREETING,)

    async def handle_request(self, request, context):
        return response(200, json=[os.getpid(), context.config[GREETING]])


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Greeter))
"""
FOLLOWER_CONFIG = """
components_manager:
    task_processors:
        main-task-processor:
            worker_threads: 2
    default_task_processor: main-task-processor
    components:
        server:
            listener: {port: 0}
            control-socket: control.sock
        handler-greeter: {path: /greeting}
        dynamic-config: {updates-enabled: true}
        dynamic-config-client:
            config-url: http://127.0.0.1:PORT
            service-name: follower
            http-timeout: 500ms
            http-retries: 1
        dynamic-config-client-updater:
            config-settings: false
            first-update-fail-ok: true
            update-interval: 50ms
            full-update-interval: 1h
"""
AGAIN = "can be followed again"


class ConfigService:
    """The example, with a file of its own, at the same port in all its lives."""

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self.port = free_port()
        self._folder = Path(shutil.copytree(EXAMPLE, folder))
        self._request = request
        config = self._folder / "static_config.yaml"
        config.write_text(config.read_text().replace("8083", str(self.port)))
        self.start()

    def start(self) -> None:
        command = [sys.executable, "config_service.py", "--config", "static_config.yaml"]
        self.service = Service(command, self._folder)
        report_log_of(self.service, self._request.node)
        self.service.wait_ready()

    def set(self, **values: Any) -> None:
        """Change values as the page says."""
        self.replace(json.dumps(json.loads((EXAMPLE / "configs.json").read_text()) | values))

    def replace(self, text: str) -> None:
        new = self._folder / "new.json"
        new.write_text(text)
        new.rename(self._folder / "configs.json")

    def signal_all(self, number: signal.Signals) -> None:
        """Send all of its processes a signal."""
        for pid in (self.service.pid, *self.service.children()):
            os.kill(pid, number)


class Follower:
    """The service that follows it."""

    def __init__(self, folder: Path, port: int, request: pytest.FixtureRequest) -> None:
        folder.mkdir()
        (folder / "main.py").write_text(FOLLOWER)
        (folder / "config.yaml").write_text(FOLLOWER_CONFIG.replace("PORT", str(port)))
        self.service = Service([sys.executable, "main.py", "--config", "config.yaml"], folder)
        report_log_of(self.service, request.node)
        self.service.wait_ready()
        self.control = Control(folder / "control.sock")
        self._client = ServiceClient(self.service.port)
        self._seen = 0

    async def greets(self, text: str) -> None:
        """Wait until every worker has this value."""
        end = time.monotonic() + DEADLINE
        workers = self.control.ready()
        missing = set(workers)
        while missing:
            pid, found = (await self._client.get("/greeting")).json()
            if found == text:
                missing.discard(pid)
            assert time.monotonic() < end, f"{missing} of {workers} do not greet with {text!r}"
            await asyncio.sleep(0.01)

    def says(self, text: str) -> None:
        """Wait for a line of the log, behind those that were waited for."""

        def find() -> int:
            return self.service.stderr().find(text, self._seen) + 1

        self._seen = wait_until(find, f"line with {text!r}")

    def count(self, text: str) -> int:
        return self.service.stderr().count(text)


@pytest.fixture
def config_service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ConfigService]:
    found = ConfigService(tmp_path / "config_service", request)
    yield found
    found.service.close()


@pytest.fixture
def follower(
    tmp_path: Path, config_service: ConfigService, request: pytest.FixtureRequest
) -> Iterator[Follower]:
    config_service.set(GREETING="first")
    found = Follower(tmp_path / "follower", config_service.port, request)
    yield found
    found.service.close()


async def test_a_value_arrives_and_faults_do_not(
    config_service: ConfigService, follower: Follower
) -> None:
    # It was there before the first worker.
    await follower.greets("first")
    config_service.set(GREETING="second")
    await follower.greets("second")

    # A broken file is said once, and once more how often.
    config_service.replace('{"GREETING": "thi')
    follower.says("it answers with status 500")
    follower.says("10 times in a row, the last time: it answers with status 500")
    assert follower.count("it answers with status 500") == 2
    await follower.greets("second")
    config_service.set(GREETING="third")
    await follower.greets("third")
    follower.says(AGAIN)

    # A value that the follower does not take is refused with all that comes with it.
    config_service.set(GREETING=4, USERVER_LOG_REQUEST=False)
    follower.says("10 times in a row, the last time: its values were refused: ")
    assert follower.count("GREETING: expected a string, got 4") == 2
    failure = follower.control.ask("dynamic-config")["update_error"]
    assert "GREETING" in failure["text"]
    variables = follower.control.ask("dynamic-config")["variables"]
    assert variables["USERVER_LOG_REQUEST"]["value"] is True
    await follower.greets("third")
    config_service.set(GREETING="fourth")
    await follower.greets("fourth")
    follower.says(AGAIN)

    # Standing still
    config_service.signal_all(signal.SIGSTOP)
    follower.says("no answer within 0.5 s")
    await follower.greets("fourth")
    config_service.signal_all(signal.SIGCONT)
    config_service.set(GREETING="fifth")
    await follower.greets("fifth")
    follower.says(AGAIN)

    # Dead
    config_service.signal_all(signal.SIGKILL)
    config_service.service.process.wait()
    follower.says("it cannot be reached")
    await follower.greets("fifth")
    config_service.service.close()
    config_service.start()
    config_service.set(GREETING="sixth")
    await follower.greets("sixth")
    follower.says(AGAIN)

    # What asks is dead: the next one begins with everything.
    (console,) = follower.service.pids("console")
    os.kill(console, signal.SIGKILL)
    config_service.set(GREETING="seventh")
    await follower.greets("seventh")
    variables = follower.control.ask("dynamic-config")["variables"]
    origin = variables["GREETING"]["origin"]
    assert origin.startswith(f"config service http://127.0.0.1:{config_service.port}")
    # What nobody here declares is not asked for.
    assert "USERVER_DUMPS" not in variables
