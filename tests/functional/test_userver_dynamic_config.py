"""userver's tests of its config client, by their names, against a service of mpchat.

Rules. As there, all tests share one service, and each one's changes are taken back. What is a test point
on every update there is a generation of the dynamic config here; an order to update (`invalidate_caches`)
is the service's next question, which `dynamic_config` waits for. The test of an alert after a year is not
here: mpchat has no mocked time, and tells a fault as long as it lasts.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from mpchat.testsuite.clients import ServiceClient
from mpchat.testsuite.configs_service import MockConfigsService
from mpchat.testsuite.dynamic_config import USE_STATIC_DEFAULT, DynamicConfig, ServedDynamicConfig
from mpchat.testsuite.dynamic_fixtures import apply_markers
from mpchat.testsuite.reporting import report_log_of
from mpchat.testsuite.service import Service, wait_until
from tests.functional.test_console import port_of
from tests.kit.control import Control

KEY = "TEST_CONFIG_KEY"
STATIC_DEFAULT, INITIAL, NEW = "static_default", "initial_value", "new_value"
DISABLED = pytest.mark.config(**{KEY: USE_STATIC_DEFAULT})
HAS_VALUE = pytest.mark.config(**{KEY: INITIAL})
"""What is in the file config.json beside userver's tests"""

MAIN = """
from mpchat import HttpHandlerBase, Key, daemon_main, minimal_server_component_list, response

KEYS = [
    Key(name, str, default="static_default")
    for name in ("TEST_CONFIG_KEY", "FIRST_KILL_SWITCH", "SECOND_KILL_SWITCH")
]


class Forwarder(HttpHandlerBase):
    name = "dynamic-config-forwarder"
    dynamic_config_keys = tuple(KEYS)

    async def handle_request(self, request, context):
        return response(200, json={key.name: context.config[key] for key in KEYS})


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Forwarder))
"""
CONFIG = """
components_manager:
    task_processors:
        main-task-processor:
            worker_threads: 1
    default_task_processor: main-task-processor
    components:
        server:
            listener: {port: 0}
            listener-monitor: {port: 0}
            control-socket: control.sock
        dynamic-config-forwarder: {path: /values}
        handler-server-monitor: {path: /service/monitor, format: json}
        dynamic-config: {updates-enabled: true}
        dynamic-config-client:
            config-url: URL
            http-retries: 5
            http-timeout: 20s
            service-name: service
        dynamic-config-client-updater:
            config-settings: false
            first-update-fail-ok: true
            full-update-interval: 500ms
            update-interval: 20ms
"""


@dataclass(frozen=True)
class Running:
    service: Service
    configs_service: MockConfigsService
    control: Control

    def failure(self) -> str | None:
        """Why the last update failed, if it did."""
        failure = self.control.ask("dynamic-config")["update_error"]
        return None if failure is None else str(failure["text"])

    def generation(self) -> int:
        return int(self.control.ask("dynamic-config")["generation"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("userver")
    configs_service = MockConfigsService({})
    (folder / "main.py").write_text(MAIN)
    (folder / "config.yaml").write_text(CONFIG.replace("URL", configs_service.url))
    service = Service([sys.executable, "main.py", "-c", "config.yaml"], folder)
    try:
        service.wait_ready()
        yield Running(service, configs_service, Control(folder / "control.sock"))
    finally:
        service.close()
        configs_service.close()


@pytest.fixture
def dynamic_config(request: pytest.FixtureRequest, running: Running) -> Iterator[DynamicConfig]:
    report_log_of(running.service, request.node)
    served = running.configs_service
    marked = apply_markers(request.node, {})
    served.commit(marked.values, marked.switched_off.keys())
    served.wait_taken(running.failure)
    yield ServedDynamicConfig(served, marked.values, running.failure, marked.switched_off)
    served.commit({})
    served.wait_taken(lambda: None)


@pytest.fixture
def service_client(running: Running, dynamic_config: DynamicConfig) -> ServiceClient:
    return ServiceClient(running.service.port)


@pytest.fixture
def monitor_client(running: Running) -> ServiceClient:
    return ServiceClient(port_of(running.control))


async def value(service_client: ServiceClient, name: str = KEY) -> str:
    found: dict[str, str] = (await service_client.get("/values")).json()
    return found[name]


async def metric(monitor_client: ServiceClient, name: str) -> int:
    answer = await monitor_client.get(f"/service/monitor?path={name}")
    return int(answer.json()[name][0]["value"])


# test_cache_updates


def test_inc_update(running: Running, dynamic_config: DynamicConfig) -> None:
    requests = running.configs_service.requests
    dynamic_config.set(TEST_CONFIG_KEY="incremental")
    assert "updated_since" in requests[-1]
    begin = len(requests)
    wait_until(lambda: any("updated_since" not in r for r in requests[begin:]), "full update")
    # One that takes over knows nothing.
    (console,) = running.service.pids("console")
    begin = len(requests)
    os.kill(console, signal.SIGKILL)
    wait_until(lambda: any("updated_since" not in r for r in requests[begin:]), "full update")
    dynamic_config.set(TEST_CONFIG_KEY="after that")
    assert {*requests[-1]} == {"ids", "service", "updated_since"}


# test_invalid_update

GOOD, ERRORS = "dynamic-config.was-last-parse-successful", "dynamic-config.parse-errors"


def break_config(running: Running) -> None:
    running.configs_service.commit({KEY: 5})
    wait_until(lambda: KEY in (running.failure() or ""), "refusal")


def fix_config(running: Running) -> None:
    running.configs_service.commit({KEY: NEW})
    running.configs_service.wait_taken(lambda: None)


async def test_ok(
    running: Running, service_client: ServiceClient, monitor_client: ServiceClient
) -> None:
    assert running.failure() is None
    assert await metric(monitor_client, GOOD) == 1


async def test_invalid_config_alerts(running: Running, service_client: ServiceClient) -> None:
    assert running.failure() is None
    break_config(running)
    assert await value(service_client) == STATIC_DEFAULT
    fix_config(running)
    assert running.failure() is None
    assert await value(service_client) == NEW


async def test_invalid_config_stats(
    running: Running, dynamic_config: DynamicConfig, monitor_client: ServiceClient
) -> None:
    errors = await metric(monitor_client, ERRORS)
    failed = await metric(monitor_client, "cache.any.update.failures_count")
    break_config(running)
    assert await metric(monitor_client, GOOD) == 0
    assert await metric(monitor_client, ERRORS) > errors
    assert await metric(monitor_client, "cache.any.update.failures_count") > failed
    fix_config(running)
    assert await metric(monitor_client, GOOD) == 1


async def test_a_refused_change_is_taken_back(
    dynamic_config: DynamicConfig, service_client: ServiceClient
) -> None:
    dynamic_config.set(TEST_CONFIG_KEY="before")
    with pytest.raises(ValueError, match=f"{KEY}: .*got 5"):
        dynamic_config.set(TEST_CONFIG_KEY=5, FIRST_KILL_SWITCH="with it")
    assert dynamic_config.get(KEY) == await value(service_client) == "before"
    assert await value(service_client, "FIRST_KILL_SWITCH") == STATIC_DEFAULT


# test_examples


@pytest.mark.config(
    USERVER_LOG_REQUEST=USE_STATIC_DEFAULT, USERVER_LOG_REQUEST_HEADERS=USE_STATIC_DEFAULT
)
def test_something(running: Running, dynamic_config: DynamicConfig) -> None:
    assert logging_of(running) == (True, False)


MY_CONFIG_VALUES = pytest.mark.config(USERVER_LOG_REQUEST=False, USERVER_LOG_REQUEST_HEADERS=True)


@MY_CONFIG_VALUES
def test_with_config(running: Running, dynamic_config: DynamicConfig) -> None:
    assert logging_of(running) == (False, True)


def test_without_config(running: Running, dynamic_config: DynamicConfig) -> None:
    assert logging_of(running) == (True, False)


def logging_of(running: Running) -> tuple[Any, Any]:
    found = running.control.ask("dynamic-config")["variables"]
    return found["USERVER_LOG_REQUEST"]["value"], found["USERVER_LOG_REQUEST_HEADERS"]["value"]


async def test_kill_switches(service_client: ServiceClient, dynamic_config: DynamicConfig) -> None:
    names = ("FIRST_KILL_SWITCH", "SECOND_KILL_SWITCH")

    async def values() -> list[str]:
        return [await value(service_client, name) for name in names]

    dynamic_config.set(FIRST_KILL_SWITCH="1", SECOND_KILL_SWITCH="2")
    assert await values() == ["1", "2"]
    dynamic_config.switch_to_static_default(*names)
    assert await values() == [STATIC_DEFAULT, STATIC_DEFAULT]
    dynamic_config.switch_to_dynamic_value(*names)
    assert await values() == ["1", "2"]


# tests_kill_switches


@HAS_VALUE
class TestEnabledKillSwitch:
    def test_duplicate_value(self, running: Running, dynamic_config: DynamicConfig) -> None:
        generation = running.generation()
        dynamic_config.set_values({KEY: dynamic_config.get(KEY)})
        assert running.generation() == generation

    async def test_change_value(
        self, service_client: ServiceClient, dynamic_config: DynamicConfig
    ) -> None:
        assert await value(service_client) == INITIAL
        dynamic_config.set_values({KEY: NEW})
        assert await value(service_client) == NEW

    async def test_change_flag(
        self, service_client: ServiceClient, dynamic_config: DynamicConfig
    ) -> None:
        dynamic_config.switch_to_static_default(KEY)
        assert await value(service_client) == STATIC_DEFAULT

    async def test_change_value_and_flag(
        self, service_client: ServiceClient, dynamic_config: DynamicConfig
    ) -> None:
        dynamic_config.set_values({KEY: NEW})
        dynamic_config.switch_to_static_default(KEY)
        assert await value(service_client) == STATIC_DEFAULT

    @pytest.mark.config(TEST_CONFIG_KEY=NEW)
    @DISABLED
    async def test_pytest_marker(self, service_client: ServiceClient) -> None:
        assert await value(service_client) == STATIC_DEFAULT


@DISABLED
@HAS_VALUE
class TestDisabledKillSwitch:
    def test_duplicate_value(self, running: Running, dynamic_config: DynamicConfig) -> None:
        generation = running.generation()
        dynamic_config.set_values({KEY: STATIC_DEFAULT})
        found = running.control.ask("dynamic-config")["variables"][KEY]
        assert found["value"] == STATIC_DEFAULT
        # That it comes from elsewhere now is all that has changed.
        assert running.generation() == generation + 1

    async def test_change_value(
        self, service_client: ServiceClient, dynamic_config: DynamicConfig
    ) -> None:
        dynamic_config.set_values({KEY: NEW})
        dynamic_config.switch_to_static_default(KEY)
        assert await value(service_client) == STATIC_DEFAULT

    async def test_change_flag(
        self, service_client: ServiceClient, dynamic_config: DynamicConfig
    ) -> None:
        assert await value(service_client) == STATIC_DEFAULT
        dynamic_config.switch_to_dynamic_value(KEY)
        assert await value(service_client) == dynamic_config.get(KEY) == INITIAL

    async def test_change_value_and_flag(
        self, service_client: ServiceClient, dynamic_config: DynamicConfig
    ) -> None:
        dynamic_config.set_values({KEY: NEW})
        assert await value(service_client) == NEW


class TestNoInitialValue:
    @DISABLED
    async def test_kill_switch_disabling_using_mark(self, service_client: ServiceClient) -> None:
        assert await value(service_client) == STATIC_DEFAULT

    def test_kill_switch_disabling_using_fixture(
        self, running: Running, dynamic_config: DynamicConfig
    ) -> None:
        generation = running.generation()
        dynamic_config.switch_to_static_default(KEY)
        assert running.generation() == generation

    def test_kill_switch_enabling_using_fixture(
        self, running: Running, dynamic_config: DynamicConfig
    ) -> None:
        generation = running.generation()
        dynamic_config.switch_to_dynamic_value(KEY)
        assert running.generation() == generation
