"""The test kit, as authors of services use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.logs import CaptureLogs, parse_tskv
from mpchat.testsuite.service import Service


def smaller_messages(config: Any, config_vars: dict[str, Any]) -> None:
    config["components_manager"]["components"]["websocket-handler"]["max-remote-payload"] = 1000


@pytest.fixture
def fewer_workers() -> Any:
    def patch(config: Any, config_vars: dict[str, Any]) -> None:
        processors = config["components_manager"]["task_processors"]
        processors["main-task-processor"]["worker_threads"] = "$workers"
        config_vars["workers"] = 2

    return patch


USERVER_CONFIG_HOOKS = [smaller_messages, "fewer_workers"]


def test_hooks_and_variables(
    supervisor: Service, service_config: Any, service_config_yaml: Any
) -> None:
    assert supervisor.ready_line.endswith(", 2 workers")
    for config, workers in ((service_config, 2), (service_config_yaml, "$workers")):
        manager = config["components_manager"]
        assert manager["components"]["websocket-handler"]["max-remote-payload"] == 1000
        assert manager["task_processors"]["main-task-processor"]["worker_threads"] == workers


def test_dynamic_config(dynamic_config: DynamicConfig, supervisor: Service) -> None:
    assert dynamic_config.get("USERVER_LOG_REQUEST") is True
    dynamic_config.set(USERVER_LOG_REQUEST=False)
    dynamic_config.set_values({"MPCHAT_DRAIN": {"window_ms": 1}})
    assert dynamic_config.get("MPCHAT_DRAIN") == {"window_ms": 1}
    dynamic_config.remove("MPCHAT_DRAIN")
    assert dynamic_config.get("MPCHAT_DRAIN", None) is None
    with pytest.raises(KeyError):
        dynamic_config.remove("MPCHAT_DRAIN")
    with pytest.raises(ValueError, match="MPCHAT_DRAIN: expected a mapping, got 1"):
        dynamic_config.set(MPCHAT_DRAIN=1)
    assert dynamic_config.get("MPCHAT_DRAIN", None) is None
    assert "generation 5" in supervisor.reload()


async def test_capture_logs(capture_logs: CaptureLogs, service_client: ServiceClient) -> None:
    await service_client.get("/ping")
    async with capture_logs() as logs:
        await service_client.request("HEAD", "/ping")
        record = await logs.wait_for(text="HEAD /ping", level="INFO")
    assert record["module"] == "mpchat.handlers.handler-ping"
    assert logs.select(text="PUT /ping") == []


def test_tskv_is_read_as_it_was_written() -> None:
    assert parse_tskv("tskv\ta=1\tb=x\\ty\\n\\\\=z") == {"a": "1", "b": "x\ty\n\\=z"}
    assert parse_tskv("plain") == {"text": "plain"}


async def test_clients(
    service_baseurl: str, service_port: int, websocket_client: WebsocketClient
) -> None:
    assert service_baseurl == f"http://localhost:{service_port}/"
    websocket_client.ping_interval = 0.01
    async with websocket_client.get("chat") as chat:
        await chat.send("hello")
        assert await chat.recv() == "hello"


AUTHOR_MAIN = """
import os

from mpchat import WebsocketHandlerBase, daemon_main, minimal_server_component_list


class Greeter(WebsocketHandlerBase):
    name = "websocket-handler"

    async def handle(self, chat, context):
        await chat.send(os.environ["GREETING"])


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Greeter))
"""

AUTHOR_TEST = """
import pytest

pytest_plugins = ["mpchat.testsuite"]


@pytest.fixture
def service_env():
    return {"GREETING": "welcome"}


async def test_greeting(websocket_client, capture_logs, dynamic_config, service_config_yaml):
    section = service_config_yaml["components_manager"]["components"]["congestion-control"]
    assert section == {"only-rtc": False, "fake-mode": True}
    dynamic_config.set(USERVER_LOG_REQUEST=False)
    async with websocket_client.get("talk") as chat:
        assert await chat.recv() == "welcome"
"""

AUTHOR_CONFIG = """
components_manager:
    task_processors:
        main-task-processor:
            worker_threads: $workers
    default_task_processor: main-task-processor
    components:
        server:
            listener:
                port: $port
        dynamic-config:
            defaults-path: defaults.json
        websocket-handler:
            path: /talk
        congestion-control:
            only-rtc: false
"""


def test_an_authors_project(pytester: pytest.Pytester, tmp_path: Path) -> None:
    (pytester.path / "main.py").write_text(AUTHOR_MAIN)
    (pytester.path / "config.yaml").write_text(AUTHOR_CONFIG)
    (pytester.path / "vars.yaml").write_text("workers: 1\nport: 8080\n")
    (pytester.path / "fallback.json").write_text("{}")
    (pytester.path / "defaults.json").write_text('{"MPCHAT_LIMITS": {"max_connections": 1}}')
    (pytester.path / "test_greeting.py").write_text(AUTHOR_TEST)
    (pytester.path / "conftest.py").write_text('pytest_plugins = ["mpchat.testsuite"]\n')
    result = pytester.runpytest_subprocess(
        "-q",
        "-o",
        "asyncio_mode=auto",
        "--service-binary=main.py",
        "--service-config=config.yaml",
        "--service-config-vars=vars.yaml",
        "--config-fallback=fallback.json",
        "--service-log-level=debug",
    )
    result.assert_outcomes(passed=1)


FAILING_MAIN = """
import asyncio

from mpchat import WebsocketHandlerBase, daemon_main, minimal_server_component_list


class Broken(WebsocketHandlerBase):
    name = "websocket-handler"

    async def handle(self, chat, context):
        self.logger.info("someone is here")
        print("printed by the author")
        asyncio.sleep(0)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.fail())

    async def fail(self):
        boom


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Broken))
"""

FAILING_CONFIG = """
components_manager:
    task_processors: {main: {worker_threads: 1}}
    default_task_processor: main
    components:
        server: {listener: {port: 8080}}
        logging: {loggers: {default: {file_path: service.log, format: json}}}
        websocket-handler: {path: /talk}
"""

FAILING_TEST = """
import pytest


async def test_answer(websocket_client):
    async with websocket_client.get("talk") as chat:
        await chat.recv()


@pytest.mark.timeout(1, func_only=True)
async def test_wait_for_ever(supervisor):
    import asyncio

    await asyncio.Event().wait()


def test_pass(supervisor):
    pass


def test_do_not_start(service_config_yaml, request):
    service_config_yaml["components_manager"]["components"]["server"]["listener"]["port"] = -1
    request.getfixturevalue("supervisor")
"""


def test_a_failing_test_shows_what_the_service_wrote(pytester: pytest.Pytester) -> None:
    (pytester.path / "main.py").write_text(FAILING_MAIN)
    (pytester.path / "static_config.yaml").write_text(FAILING_CONFIG)
    (pytester.path / "test_broken.py").write_text(FAILING_TEST)
    (pytester.path / "conftest.py").write_text('pytest_plugins = ["mpchat.testsuite"]\n')
    arguments = ("-q", "-o", "asyncio_mode=auto", "--service-binary=main.py")
    result = pytester.runpytest_subprocess(*arguments)
    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*ConnectionClosedError*",
            "*Captured service log*",
            "* INFO main/0 mpchat.handlers.websocket-handler *: someone is here",
            "* WARNING main/0 py.warnings *main.py:13: *coroutine 'sleep' was never awaited",
            "* ERROR main/0 mpchat.handlers.websocket-handler *: the handler failed",
            "    |     boom",
            "    | NameError: name 'boom' is not defined",
            "*Captured service stdout*",
            "printed by the author",
            # The other one waits for something that never comes.
            "*Timeout*",
            "*Captured service log*",
            "* is ready*",
            "*ServiceFailed*",
        ]
    )
    failures = result.stdout.str().split("test_do_not_start")[-1]
    assert "Captured service log" not in failures
