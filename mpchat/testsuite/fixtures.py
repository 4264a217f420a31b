"""The fixtures, with the names of userver's plugin; a fixture of the same name overrides one of these.

Scope: each test has its own service, ready in half a second, so that a test may kill it.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.config.variables import Variables, substitute
from mpchat.config.yaml_file import Document
from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.dynamic_fixtures import DYNAMIC_CONFIG_HOOKS, MarkedConfig
from mpchat.testsuite.logs import CaptureLogs
from mpchat.testsuite.reporting import report_log_of
from mpchat.testsuite.rooms import Memberships
from mpchat.testsuite.service import ExternalService, Service

ConfigHook = Callable[[Any, dict[str, Any]], None]
HOOKS_VARIABLE = "USERVER_CONFIG_HOOKS"
"""A list in a test module, conftest or plugin: hooks, or names of fixtures that return a hook."""
_LONGEST_SOCKET = 107
"""Bytes of the path of a Unix socket"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this plugin."""
    group = parser.getgroup("mpchat", "services built with mpchat")
    add = group.addoption
    add("--service-binary", help="the service's main.py or executable; by default `mpchat serve`")
    add("--service-config", help="its static config; by default static_config.yaml in the root")
    add("--service-config-vars", help="values of the variables in that config")
    add("--config-fallback", help="its dynamic config; by default the file next to the config")
    add("--service-log-level", help="level of its default logger")
    add(
        "--service-wait",
        action="store_true",
        help="start nothing: print the command and wait until you have started it (in a debugger)",
    )


def _option(config: pytest.Config, name: str) -> Any:
    return config.getoption(name, default=None)


@pytest.fixture
def service_tmpdir(tmp_path: Path) -> Path:
    """The folder in which the service runs."""
    return tmp_path


@pytest.fixture
def service_control_socket(service_tmpdir: Path) -> Iterator[Path]:
    """The path of the service's control socket, which must not be long."""
    path = service_tmpdir / "control.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="mpchat-") as folder:
        yield Path(folder, "control.sock")


@pytest.fixture
def service_binary(pytestconfig: pytest.Config) -> str | None:
    """The service's main.py or executable; None for `mpchat serve`."""
    given: str | None = _option(pytestconfig, "--service-binary")
    return str(Path(given).resolve()) if given else None


@pytest.fixture
def service_command(service_binary: str | None) -> list[str]:
    """The command that serves; ``--config FILE`` is added."""
    if service_binary is None:
        return [sys.executable, "-m", "mpchat", "serve"]
    return [sys.executable, service_binary] if service_binary.endswith(".py") else [service_binary]


@pytest.fixture
def service_env() -> dict[str, str]:
    """Environment variables for the service, on top of the test's own."""
    return {}


@pytest.fixture
def service_config_path(pytestconfig: pytest.Config) -> Path:
    """The service's own static config."""
    given = _option(pytestconfig, "--service-config")
    return Path(given) if given else pytestconfig.rootpath / "static_config.yaml"


@pytest.fixture
def service_config_vars_path(pytestconfig: pytest.Config) -> Path | None:
    """The file of variables for the static config, if there is one."""
    given = _option(pytestconfig, "--service-config-vars")
    return Path(given) if given else None


@pytest.fixture
def service_config_vars(service_config_vars_path: Path | None) -> dict[str, Any]:
    """The values of the variables; a test may change them."""
    if service_config_vars_path is None:
        return {}
    return yaml.safe_load(service_config_vars_path.read_text()) or {}


@pytest.fixture
def service_config_yaml(
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
    service_config_path: Path,
    service_config_vars: dict[str, Any],
    config_fallback_path: Path,
    marked_config: MarkedConfig,
    service_control_socket: Path,
) -> Any:
    """The static config before variables are replaced; a test may change it.

    It has a free port, its own dynamic config and control socket, and the log on stderr; then the hooks
    have run.
    """
    config = yaml.safe_load(service_config_path.read_text())
    config.pop("config_vars", None)
    components = config["components_manager"]["components"]
    server = components["server"]
    server["control-socket"] = str(service_control_socket)
    listener = server["listener"]
    for option in ("port", "port#fallback", "port#env", "unix-socket"):
        listener.pop(option, None)
    # A service that is started by hand cannot tell us which port it was given.
    listener["port"] = _free_port() if _option(pytestconfig, "--service-wait") else 0
    fallbacks = components.setdefault("dynamic-config-fallbacks", {}) or {}
    components["dynamic-config-fallbacks"] = fallbacks
    fallbacks["fallback-path"] = str(config_fallback_path)
    dynamic = components.get("dynamic-config") or {}
    if not dynamic.get("defaults-path", "$").startswith("$"):
        # Relative to the file that names it, which is copied to another folder.
        dynamic["defaults-path"] = str(
            service_config_path.resolve().parent / dynamic["defaults-path"]
        )
    default = (
        components.setdefault("logging", {}).setdefault("loggers", {}).setdefault("default", {})
    )
    # capture_logs and reports read the log from there, in that format.
    default["file_path"] = "@stderr"
    default["format"] = "tskv"
    level = _option(pytestconfig, "--service-log-level")
    if level:
        default["level"] = level
    if "congestion-control" in components:
        # As userver's plugin: a machine that is busy with tests must not refuse requests.
        section = components["congestion-control"] or {}
        components["congestion-control"] = {**section, "fake-mode": True}
    for hook in _hooks(request):
        hook(config, service_config_vars)
    return config


def _free_port() -> int:
    with socket.create_server(("", 0)) as probe:
        return int(probe.getsockname()[1])


def _hooks(request: pytest.FixtureRequest) -> list[ConfigHook]:
    holders = [*request.config.pluginmanager.get_plugins(), request.module]
    given = [hook for holder in holders for hook in getattr(holder, HOOKS_VARIABLE, ())]
    hooks: list[ConfigHook] = []
    # The plugin's own come first, so that an author's can change what they do.
    for hook in (*DYNAMIC_CONFIG_HOOKS, *given):
        found = request.getfixturevalue(hook) if isinstance(hook, str) else hook
        if found not in hooks:
            hooks.append(found)
    return hooks


@pytest.fixture
def service_config(service_config_yaml: Any, service_config_vars: dict[str, Any]) -> Any:
    """The static config with its variables replaced, for reading only."""
    places: dict[tuple[str | int, ...], tuple[int, int]] = {
        (name,): (0, 0) for name in service_config_vars
    }
    values = Document("config_vars", service_config_vars, places)

    def read(path: str) -> str:
        return Path(path).read_text()

    document = Document("static_config", service_config_yaml, _AnyPlace())
    return substitute(document, Variables((values,), os.environ, read)).value


class _AnyPlace(dict[Any, tuple[int, int]]):
    def __missing__(self, key: Any) -> tuple[int, int]:
        return (0, 0)


@pytest.fixture
def service_config_path_temp(service_config_yaml: Any, service_tmpdir: Path) -> Path:
    """The service's static config file, as changed by hooks and fixtures."""
    config = service_tmpdir / "static_config.yaml"
    config.write_text(yaml.safe_dump(service_config_yaml))
    return config


@pytest.fixture
def service_start_command(
    service_command: list[str],
    service_config_path_temp: Path,
    service_config_vars: dict[str, Any],
    service_tmpdir: Path,
) -> list[str]:
    """The whole command; the variables as the test has changed them are written, and named in it."""
    command = [*service_command, "--config", str(service_config_path_temp)]
    if service_config_vars:
        variables = service_tmpdir / "config_vars.yaml"
        variables.write_text(yaml.safe_dump(service_config_vars))
        command += ["--config_vars", str(variables)]
    return command


@pytest.fixture
def supervisor(
    request: pytest.FixtureRequest,
    service_config_yaml: Any,
    service_start_command: list[str],
    service_tmpdir: Path,
    service_env: dict[str, str],
) -> Iterator[Service]:
    """The running service: signals, pids, what it logs and tells its service manager."""
    if _option(request.config, "--service-wait"):
        capture = request.config.pluginmanager.getplugin("capturemanager")
        port = service_config_yaml["components_manager"]["components"]["server"]["listener"]["port"]
        with capture.global_and_fixture_disabled():
            service: Service = ExternalService(
                service_start_command, service_tmpdir, service_env, port
            )
    else:
        service = Service(service_start_command, service_tmpdir, service_env)
    report_log_of(service, request.node)
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
def service_ssl_context(service_config: Any, service_tmpdir: Path) -> ssl.SSLContext | None:
    """What the clients of a service with TLS trust: its own certificate; None for one without TLS."""
    tls = service_config["components_manager"]["components"]["server"]["listener"].get("tls")
    if tls is None:
        return None
    context = ssl.create_default_context(cafile=service_tmpdir / tls["cert"])
    # Whoever has issued it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


@pytest.fixture
def service_baseurl(service_port: int, service_ssl_context: ssl.SSLContext | None) -> str:
    """The service's address for HTTP."""
    scheme = "http" if service_ssl_context is None else "https"
    return f"{scheme}://localhost:{service_port}/"


@pytest.fixture
def service_client(service_port: int, service_ssl_context: ssl.SSLContext | None) -> ServiceClient:
    """Plain HTTP requests."""
    return ServiceClient(service_port, service_ssl_context)


@pytest.fixture
def websocket_client(
    service_port: int, service_ssl_context: ssl.SSLContext | None
) -> WebsocketClient:
    """WebSocket connections."""
    return WebsocketClient(service_port, tls=service_ssl_context)


@pytest.fixture
def rooms(supervisor: Service, service_config: Any, service_config_path_temp: Path) -> Memberships:
    """Waits for the members of rooms."""
    server = service_config["components_manager"]["components"]["server"]
    return Memberships(service_config_path_temp.parent / server["control-socket"])


@pytest.fixture
def capture_logs(supervisor: Service) -> CaptureLogs:
    """Captures the records that the service logs from now on."""
    return CaptureLogs(supervisor)
