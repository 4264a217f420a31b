"""The fixtures. Scope: each test has a service of its own, so that one may kill it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.service import Service


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this plugin."""
    group = parser.getgroup("mpchat")
    group.addoption("--service-config", default=None, help="static config of the service to test")


@pytest.fixture
def service_tmpdir(tmp_path: Path) -> Path:
    """The folder in which the service runs."""
    return tmp_path


@pytest.fixture
def service_command() -> list[str]:
    """The command that serves; ``-c FILE`` is added."""
    return [sys.executable, "-m", "mpchat", "serve"]


@pytest.fixture
def original_service_config_path(pytestconfig: pytest.Config) -> Path:
    """The service's own static config: --service-config, else the one in the root folder."""
    given = pytestconfig.getoption("--service-config", default=None)
    return Path(given) if given else pytestconfig.rootpath / "static_config.yaml"


@pytest.fixture
def service_config(original_service_config_path: Path, config_fallback_path: Path) -> Any:
    """The static config as a test may change it: on a free port, with a fallback file of its own."""
    config = yaml.safe_load(original_service_config_path.read_text())
    components = config["components_manager"]["components"]
    components["server"]["listener"]["port"] = 0
    components["dynamic-config-fallbacks"]["fallback-path"] = str(config_fallback_path)
    return config


@pytest.fixture
def config_fallback_path(original_service_config_path: Path, service_tmpdir: Path) -> Path:
    """A copy of the service's dynamic config file."""
    copy = service_tmpdir / "dynamic_config_fallback.json"
    shutil.copy(original_service_config_path.parent / "dynamic_config_fallback.json", copy)
    return copy


@pytest.fixture
def service_config_path(service_config: Any, service_tmpdir: Path) -> Path:
    """The static config that the service is started with."""
    path = service_tmpdir / "static_config.yaml"
    path.write_text(yaml.safe_dump(service_config))
    return path


@pytest.fixture
def supervisor(
    service_command: list[str], service_config_path: Path, service_tmpdir: Path
) -> Iterator[Service]:
    """The running service: signals, pids, what it logs and tells its service manager."""
    service = Service([*service_command, "-c", str(service_config_path)], service_tmpdir)
    try:
        service.wait_ready()
        yield service
    finally:
        service.close()


@pytest.fixture
def service_port(supervisor: Service) -> int:
    """The port that the service listens on."""
    return supervisor.port


@pytest.fixture
def service_baseurl(service_port: int) -> str:
    """The service's address for HTTP."""
    return f"http://localhost:{service_port}/"


@pytest.fixture
def service_client(service_port: int) -> ServiceClient:
    """Plain HTTP requests."""
    return ServiceClient(service_port)


@pytest.fixture
def websocket_client(service_port: int) -> WebsocketClient:
    """WebSocket connections."""
    return WebsocketClient(service_port)


class DynamicConfig:
    """Changes the dynamic config of the running service."""

    def __init__(self, service: Service, path: Path) -> None:
        self._service = service
        self._path = path

    def set(self, **values: Any) -> None:
        """Set variables; when this returns every worker uses them.

        Raises:
            ValueError: The service refused them; says why.
        """
        current = json.loads(self._path.read_text())
        self._path.write_text(json.dumps({**current, **values}, indent=2))
        status = self._service.reload()
        if "failed" in status:
            raise ValueError(status)


@pytest.fixture
def dynamic_config(supervisor: Service, config_fallback_path: Path) -> DynamicConfig:
    """Changes the dynamic config and waits until every worker has it."""
    return DynamicConfig(supervisor, config_fallback_path)
