"""The test kit with a service that follows a config service, as authors use it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.testsuite import USE_STATIC_DEFAULT
from mpchat.testsuite.configs_service import MockConfigsService
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.service import wait_until
from tests.kit.control import Control

REQUEST, HEADERS = "USERVER_LOG_REQUEST", "USERVER_LOG_REQUEST_HEADERS"
SPANS = "USERVER_NO_LOG_SPANS"


@pytest.fixture
def service_config_path(service_config_path: Path, tmp_path: Path) -> Path:
    """The service's own config, in which the kit replaces what must not be so in a test."""
    config = yaml.safe_load(service_config_path.read_text())
    manager = config["components_manager"]
    manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
    manager["components"] |= {
        "dynamic-config": {"updates-enabled": True, "fs-cache-path": "/nowhere/cache.json"},
        "dynamic-config-client": {
            "config-url": "http://configs.invalid/values",
            "append-path-to-url": False,
            "service-name": "author",
            "http-timeout": "20s",
            "http-retries": 2,
        },
        "dynamic-config-client-updater": {
            "config-settings": False,
            "first-update-fail-ok": True,
            "update-interval": "1h",
            "update-types": "only-full",
        },
    }
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copy(service_config_path.parent / "dynamic_config_fallback.json", folder)
    path = folder / "static_config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def dynamic_config_fallback_patch() -> dict[str, Any]:
    return {"HTTP_CLIENT_CONNECTION_POOL_SIZE": 777}


def variables(control: Control) -> dict[str, Any]:
    found: dict[str, Any] = control.ask("dynamic-config")["variables"]
    return found


def test_dynamic_config_fallback_patch(
    dynamic_config: DynamicConfig, control: Control, mock_configs_service: MockConfigsService
) -> None:
    name = "HTTP_CLIENT_CONNECTION_POOL_SIZE"
    assert dynamic_config.get(name) == variables(control)[name]["value"] == 777
    assert variables(control)[name]["origin"].startswith(
        f"config service {mock_configs_service.url}"
    )
    assert mock_configs_service.requests[0]["service"] == "author"


@pytest.mark.config(USERVER_LOG_REQUEST=False, USERVER_LOG_REQUEST_HEADERS=USE_STATIC_DEFAULT)
def test_changes_are_in_force_when_they_return(
    dynamic_config: DynamicConfig, control: Control, service_tmpdir: Path
) -> None:
    def values(*names: str) -> list[Any]:
        found = control.ask("dynamic-config")
        assert {worker["generation"] for worker in control.workers()} == {found["generation"]}
        return [found["variables"][name]["value"] for name in names]

    assert values(REQUEST, HEADERS) == [False, False]
    dynamic_config.set(USERVER_LOG_REQUEST=True, USERVER_LOG_REQUEST_HEADERS=True)
    assert values(REQUEST, HEADERS) == [True, True]
    with dynamic_config.modify(SPANS) as spans:
        spans["names"].append("http/handler-ping")
    assert values(SPANS) == [{"names": ["http/handler-ping"], "prefixes": []}]
    with pytest.raises(ValueError, match=f"{REQUEST}: expected true or false"):
        dynamic_config.set(USERVER_LOG_REQUEST="yes", USERVER_LOG_REQUEST_HEADERS=False)
    assert values(REQUEST, HEADERS) == [True, True]
    dynamic_config.switch_to_static_default(HEADERS)
    assert values(HEADERS) == [False]
    dynamic_config.switch_to_dynamic_value(HEADERS)
    dynamic_config.remove(SPANS)
    # Below it is the fallback file.
    assert values(HEADERS, SPANS) == [True, {"names": [], "prefixes": []}]
    cache = service_tmpdir / "configs" / "config_cache.json"
    wait_until(lambda: cache.exists() and json.loads(cache.read_text())[HEADERS], "cache file")


MARKED = """
import pytest


@pytest.mark.config(NOBODY_KNOWS=1)
def test_unknown(supervisor):
    pass


@pytest.mark.disable_config_check
@pytest.mark.config(NOBODY_KNOWS=1)
def test_unknown_and_allowed(dynamic_config):
    assert dynamic_config.get("NOBODY_KNOWS") == 1


@pytest.mark.config(IN_THE_FILE=2, USERVER_LOG_REQUEST=False)
def test_known(dynamic_config):
    assert dynamic_config.get("IN_THE_FILE") == 2


@pytest.mark.config(NOBODY_KNOWS=1)
def test_without_a_service():
    pass
"""
STATIC = """
components_manager:
    task_processors: {main-task-processor: {worker_threads: 1}}
    default_task_processor: main-task-processor
    components: {server: {listener: {port: 8080}}, handler-ping: {path: /ping}}
"""


def test_a_marker_names_variables_that_are_known(pytester: pytest.Pytester) -> None:
    (pytester.path / "test_marked.py").write_text(MARKED)
    (pytester.path / "static_config.yaml").write_text(STATIC)
    (pytester.path / "dynamic_config_fallback.json").write_text('{"IN_THE_FILE": 1}')
    (pytester.path / "conftest.py").write_text('pytest_plugins = ["mpchat.testsuite"]\n')
    result = pytester.runpytest_subprocess("-q", "--strict-markers")
    result.assert_outcomes(errors=1, passed=3)
    result.stdout.fnmatch_lines(["*the marker config names NOBODY_KNOWS, which the service*"])
