"""Static configs as userver has them, of several versions, start and serve."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.config.files import ConfigFiles
from mpchat.handlers.lists import default_component_list
from mpchat.template.dynamic import load_dynamic
from mpchat.template.loading import Sources, load_service
from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.service import DEADLINE, Service
from tests.functional.conftest import Serve
from tests.kit.verbs import Mpchat

V3_1 = Path(__file__).parent.parent / "fixtures" / "userver_v3_1" / "static_config.yaml"
CONTINUE = "graceful_shutdown_continue_accepting_requests_interval"
COMPLETE = "graceful_shutdown_pending_requests_completion_interval"
OLDER = "graceful_shutdown_interval"


@pytest.mark.covers(
    "ManagerOptions.graceful_shutdown_continue_accepting_requests_interval",
    "ManagerOptions.graceful_shutdown_pending_requests_completion_interval",
)
async def test_a_config_of_v3_1_serves(service_command: list[str], tmp_path: Path) -> None:
    # The port is the one thing a test cannot take as it is: something may listen there.
    text = V3_1.read_text().replace("port: 8080", "port: 0")
    (tmp_path / "static_config.yaml").write_text(text)
    service = Service([*service_command, "-c", "static_config.yaml"], tmp_path)
    try:
        service.wait_ready()
        client = ServiceClient(service.port)
        async with WebsocketClient(service.port).get("chat") as chat:
            await chat.send("hello")
            assert await chat.recv() == "hello"
            assert (await client.get("/ping")).status == 200
            begun = time.monotonic()
            service.send_signal(signal.SIGTERM)
            # It goes on accepting, and says by userver's own header that balancers should not come.
            while (answer := await client.get("/ping")).status != 503:
                assert time.monotonic() - begun < DEADLINE
            assert answer.headers["x-envoy-immediate-health-check-fail"] == "true"
            await chat.send("still served")
            assert await chat.recv() == "still served"
            await chat.wait_closed()
            assert time.monotonic() - begun >= 2
        assert await asyncio.to_thread(service.process.wait, DEADLINE) == 0
        warning = next(line for line in service.stderr().splitlines() if "without effect" in line)
    finally:
        service.close()
    for name in (
        "boot-log-path",
        "component_load_print_interval",
        "enable_component_load_tracing",
        "enable_trx_tracker",
        "task_processors.main-task-processor.trace-coroutines",
        "cors-middleware",
        "grpc-server-baggage",
        "grpc-server-congestion-control",
        "grpc-server-deadline-propagation",
        "grpc-server-headers-propagator",
        "grpc-server-logging",
        "handler-dump-coroutines",
        "http-client-headers-propagator",
        "http-client-retry-budget",
        "http-client-yandex-tracing",
    ):
        assert name in warning, name
    for name in (CONTINUE, COMPLETE, "ports"):
        assert name not in warning, name


@pytest.mark.parametrize(
    ("given", "dynamic", "expected"),
    [
        ({}, {}, {}),
        ({CONTINUE: "5s"}, {}, {"lameduck_ms": 5000}),
        ({COMPLETE: "700ms"}, {}, {"deadline_ms": 700}),
        pytest.param(
            {OLDER: "4s"},
            {},
            {"lameduck_ms": 4000},
            marks=pytest.mark.covers("ManagerOptions.graceful_shutdown_interval"),
        ),
        ({OLDER: "4s", CONTINUE: "0s"}, {}, {"lameduck_ms": 0}),
        ({CONTINUE: "5s"}, {"window_ms": 1}, {"lameduck_ms": 5000, "window_ms": 1}),
        (
            {CONTINUE: "5s", COMPLETE: "6s"},
            {"lameduck_ms": 0},
            {"lameduck_ms": 0, "deadline_ms": 6000},
        ),
    ],
)
def test_intervals_are_the_defaults_of_a_stop(
    service_config: Any,
    tmp_path: Path,
    given: dict[str, str],
    dynamic: dict[str, int],
    expected: dict[str, int],
) -> None:
    service_config["components_manager"].update(given)
    components = service_config["components_manager"]["components"]
    components.pop("dynamic-config-fallbacks")
    components["dynamic-config"] = {"defaults": {"MPCHAT_DRAIN": dynamic} if dynamic else {}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(service_config))
    files = ConfigFiles(str(path), None, None)
    service = load_service(files, default_component_list(), Sources())
    assert load_dynamic(service).values.get("MPCHAT_DRAIN", {}) == expected


@pytest.mark.covers("ListenerOptions.ports")
async def test_one_entry_of_ports(serve: Serve) -> None:
    place = {"port": 0, "address": "127.0.0.1"}
    changes = {"server.listener.port": None, "server.listener.ports": [place]}
    with serve(changes) as service:
        assert service.ready_line.split("ws://")[1].startswith("127.0.0.1:")
        assert (await ServiceClient(service.port).get("/ping")).status == 200


@pytest.mark.parametrize(
    ("listener", "expected"),
    [
        (
            {"ports": [{"port": 1}, {"port": 2}]},
            "server.listener: mpchat listens in one place: expected port, unix-socket or one entry "
            "of ports",
        ),
        ({"port": 1, "ports": [{"port": 2}]}, "server.listener: mpchat listens in one place"),
        (
            {"ports": [{"port": 1, "unix-socket-permissions": "660"}]},
            "unix-socket-permissions needs a unix-socket",
        ),
        ({"ports": [{"address": "::"}]}, "expected either port or unix-socket"),
        ({"ports": []}, "expected either port or unix-socket"),
        ({"listen-socket-fd": 3}, "server.listener: listen-socket-fd is userver's: mpchat opens"),
    ],
)
def test_a_place_that_mpchat_would_not_listen_at_is_a_mistake(
    mpchat: Mpchat,
    service_config: Any,
    tmp_path: Path,
    listener: dict[str, Any],
    expected: str,
) -> None:
    service_config["components_manager"]["components"]["server"]["listener"] = listener
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(service_config))
    result = mpchat("check", "-c", str(path))
    assert result.returncode == 78
    assert expected in result.stderr
