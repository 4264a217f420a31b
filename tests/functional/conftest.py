"""What several modules of functional tests need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.reporting import report_log_of
from mpchat.testsuite.service import Service
from tests.kit.control import Control
from tests.kit.covering import is_set
from tests.kit.sharing import Shared
from tests.kit.verbs import Mpchat

Serve = Callable[..., Any]


def shares(request: pytest.FixtureRequest) -> bool:
    """Whether the test gets along with the service of its module."""
    return request.node.get_closest_marker("shared_service") is not None


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    shared = Shared(tmp_path_factory.mktemp("shared"))
    yield shared
    shared.close()


@pytest.fixture
def service_tmpdir(request: pytest.FixtureRequest, tmp_path: Path, shared: Shared) -> Path:
    return shared.folder if shares(request) else tmp_path


@pytest.fixture(scope="session")
def mpchat() -> Iterator[Mpchat]:
    """The command: ``mpchat("check", "-c", "static_config.yaml", cwd=folder)``."""
    with Mpchat() as command:
        yield command


@pytest.fixture
def control(service_tmpdir: Path) -> Control:
    """The control socket of the service, which every config of these tests names."""
    return Control(service_tmpdir / "control.sock")


@pytest.fixture
def service_config_yaml(service_config_yaml: Any, control: Control) -> Any:
    server = service_config_yaml["components_manager"]["components"]["server"]
    server["control-socket"] = str(control.path)
    return service_config_yaml


@pytest.fixture
def values_set() -> list[Any]:
    """Values of dynamic variables that the test has set."""
    return []


@pytest.fixture
def dynamic_config(
    dynamic_config: DynamicConfig, values_set: list[Any], monkeypatch: pytest.MonkeyPatch
) -> DynamicConfig:
    """Also remembers what was set."""
    set_values = dynamic_config.set_values

    def record(values: dict[str, Any]) -> None:
        set_values(values)
        values_set.append(values)

    monkeypatch.setattr(dynamic_config, "set_values", record)
    return dynamic_config


@pytest.fixture(autouse=True)
def covered(
    request: pytest.FixtureRequest, service_tmpdir: Path, tmp_path: Path, values_set: list[Any]
) -> Iterator[None]:
    """Whoever covers an option has set it to something else than its default."""
    names = [name for mark in request.node.iter_markers("covers") for name in mark.args]
    if names:
        for path in service_tmpdir.glob("*.yaml"):
            path.unlink()
    yield
    if names:
        files = [*service_tmpdir.glob("*.yaml"), *tmp_path.glob("*.yaml")]
        configs = [yaml.safe_load(path.read_text())["components_manager"] for path in files]
        unset = [name for name in names if not is_set(name, [*configs, *values_set])]
        assert not unset, f"the test covers {', '.join(unset)}, and does not set it"


@pytest.fixture
def supervisor(
    request: pytest.FixtureRequest,
    service_start_command: list[str],
    service_config_path_temp: Path,
    shared: Shared,
) -> Service:
    if not shares(request):
        service: Service = request.getfixturevalue("supervisor")
    else:
        failures = request.session.testsfailed
        service = shared.get(service_start_command, service_config_path_temp, failures)
        report_log_of(service, request.node)
    return service


@pytest.fixture
def serve(
    request: pytest.FixtureRequest,
    service_command: list[str],
    service_config: Any,
    service_tmpdir: Path,
    shared: Shared,
) -> Callable[[dict[str, Any]], Any]:
    """Start the service with options changed: ``serve({"server.listener.port": 1})``.

    ``more`` goes behind its command line, ``wrapper`` before it.
    """

    @contextmanager
    def start(
        changes: dict[str, Any], *more: str, wrapper: Sequence[str] = ()
    ) -> Iterator[Service]:
        for dotted, value in changes.items():
            *parents, last = dotted.split(".")
            section = service_config["components_manager"]
            if dotted.partition(".")[0] not in section:
                section = section["components"]
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = value
            if value is None:
                del section[last]
        path = service_tmpdir / "changed.yaml"
        path.write_text(yaml.safe_dump(service_config))
        command = [*wrapper, *service_command, "-c", str(path), *more]
        if shares(request):
            service = shared.get(command, path, request.session.testsfailed)
            report_log_of(service, request.node)
            yield service
            return
        service = Service(command, service_tmpdir)
        report_log_of(service, request.node)
        try:
            service.wait_ready()
            yield service
        finally:
            service.close()

    return start
