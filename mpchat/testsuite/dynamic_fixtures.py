"""The fixtures of the dynamic config, with the names of userver's plugin.

Rules. A service that follows a config service gets one of the test, with the values of the fallback file.
Tests then change those, and else the file. Values of markers are there from the start.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.configs_service import MockConfigsService
from mpchat.testsuite.control import ask_dynamic_config
from mpchat.testsuite.dynamic_config import (
    USE_STATIC_DEFAULT,
    DynamicConfig,
    FileDynamicConfig,
    ServedDynamicConfig,
    switch,
)
from mpchat.testsuite.service import Service

DYNAMIC_CONFIG_HOOKS = ("userver_config_dynconf_cache", "userver_config_dynconf_url")

ConfigHook = Callable[[Any, dict[str, Any]], None]
_CLIENT = "dynamic-config-client"
_UPDATER = "dynamic-config-client-updater"
_QUICK = {"update-interval": "50ms", "update-jitter": "0ms", "exception-interval": "50ms"}
"""How often the service asks: a change is in force as soon as it has asked again."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers of this plugin."""
    add = config.addinivalue_line
    add(
        "markers",
        "config(NAME=value, ...): variables of the dynamic config, at the service's start",
    )
    add(
        "markers",
        "disable_config_check: `config` may name variables that the service does not know",
    )


@pytest.fixture
def dynamic_config_fallback_patch() -> dict[str, Any]:
    """Values that replace some of the fallback file; override it."""
    return {}


@pytest.fixture
def config_fallback_path(
    pytestconfig: pytest.Config, service_config_path: Path, service_tmpdir: Path
) -> Path:
    """A copy of the service's dynamic config, which a test may change."""
    given = pytestconfig.getoption("--config-fallback", default=None)
    original = Path(given) if given else service_config_path.parent / "dynamic_config_fallback.json"
    copy = service_tmpdir / "dynamic_config_fallback.json"
    if original.exists():
        shutil.copy(original, copy)
    else:
        copy.write_text("{}")
    return copy


@pytest.fixture
def config_service_defaults(
    config_fallback_path: Path, dynamic_config_fallback_patch: dict[str, Any]
) -> dict[str, Any]:
    """The values of the dynamic config before those of markers; override it."""
    values: dict[str, Any] = json.loads(config_fallback_path.read_text())
    return values | dynamic_config_fallback_patch


@dataclass(frozen=True)
class MarkedConfig:
    """The dynamic config at the service's start."""

    values: dict[str, Any]
    switched_off: dict[str, Any]
    """Values of variables that have their static defaults instead"""


def apply_markers(item: pytest.Item, values: dict[str, Any]) -> MarkedConfig:
    """Return what the markers of a test make of values.

    Those of the test itself come before those of its class and module. USE_STATIC_DEFAULT beside a value
    keeps that for later.
    """
    found: dict[object, list[dict[str, Any]]] = {}
    for node, marker in item.iter_markers_with_node("config"):
        found.setdefault(node, []).append(dict(marker.kwargs))
    switched_off: dict[str, Any] = {}
    for changes in reversed(found.values()):
        for is_default in (False, True):
            chosen = {
                name: value
                for one in changes
                for name, value in one.items()
                if (value is USE_STATIC_DEFAULT) == is_default
            }
            values, switched_off = switch(values, switched_off, chosen)
    return MarkedConfig(values, switched_off)


@pytest.fixture
def marked_config(
    request: pytest.FixtureRequest,
    config_fallback_path: Path,
    config_service_defaults: dict[str, Any],
) -> MarkedConfig:
    """The dynamic config at the service's start, with the values of the test's markers."""
    marked = apply_markers(request.node, config_service_defaults)
    if json.loads(config_fallback_path.read_text()) != marked.values:
        config_fallback_path.write_text(json.dumps(marked.values, indent=2))
    return marked


@pytest.fixture(autouse=True)
def config_check(request: pytest.FixtureRequest) -> None:
    """Fail a test whose marker names a variable that its service does not know."""
    names = {name for marker in request.node.iter_markers("config") for name in marker.kwargs}
    checked = names and request.node.get_closest_marker("disable_config_check") is None
    if not checked or "supervisor" not in request.fixturenames:
        return
    request.getfixturevalue("supervisor")
    control_socket = _control_socket(request.getfixturevalue("service_config_yaml"))
    found = ask_dynamic_config(control_socket)["variables"]
    known = {name for name, variable in found.items() if variable["declared"]}
    unknown = names - known - request.getfixturevalue("config_service_defaults").keys()
    if unknown:
        pytest.fail(
            f"the marker config names {', '.join(sorted(unknown))}, which the service does not declare; "
            "the marker disable_config_check allows it",
            pytrace=False,
        )


@pytest.fixture
def mock_configs_service(marked_config: MarkedConfig) -> Iterator[MockConfigsService]:
    """The config service that a service under test follows."""
    service = MockConfigsService(marked_config.values, marked_config.switched_off.keys())
    yield service
    service.close()


@pytest.fixture
def userver_config_dynconf_url(request: pytest.FixtureRequest) -> ConfigHook:
    """Have a service that follows a config service follow ``mock_configs_service``, and ask it often."""

    def patch(config: Any, config_vars: dict[str, Any]) -> None:
        components = config["components_manager"]["components"]
        if components.get(_CLIENT):
            service: MockConfigsService = request.getfixturevalue("mock_configs_service")
            components[_CLIENT] |= {"config-url": service.url, "append-path-to-url": True}
        if components.get(_UPDATER):
            updater = components[_UPDATER] | _QUICK
            # Only a request for what has changed says which values are in force.
            updater.pop("update-types", None)
            updater.setdefault("full-update-interval", "1h")
            components[_UPDATER] = updater

    return patch


@pytest.fixture
def userver_config_dynconf_cache(service_tmpdir: Path) -> ConfigHook:
    """Have a service that caches values of a config service begin without any."""

    def patch(config: Any, config_vars: dict[str, Any]) -> None:
        section = config["components_manager"]["components"].get("dynamic-config") or {}
        if section.get("fs-cache-path"):
            path = service_tmpdir / "configs" / "config_cache.json"
            path.unlink(missing_ok=True)
            section["fs-cache-path"] = str(path)

    return patch


@pytest.fixture
def dynamic_config(
    request: pytest.FixtureRequest,
    supervisor: Service,
    service_config_yaml: Any,
    config_fallback_path: Path,
    marked_config: MarkedConfig,
) -> DynamicConfig:
    """Changes the dynamic config; when a call returns, every worker uses the change."""
    switched_off = marked_config.switched_off
    if not service_config_yaml["components_manager"]["components"].get(_UPDATER):
        return FileDynamicConfig(supervisor, config_fallback_path, switched_off)
    control_socket = _control_socket(service_config_yaml)

    def refusal() -> str | None:
        failure = ask_dynamic_config(control_socket)["update_error"]
        return None if failure is None else failure["text"]

    service: MockConfigsService = request.getfixturevalue("mock_configs_service")
    return ServedDynamicConfig(service, marked_config.values, refusal, switched_off)


def _control_socket(static_config: Any) -> Path:
    return Path(static_config["components_manager"]["components"]["server"]["control-socket"])
