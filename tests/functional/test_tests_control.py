"""A service as userver's own testsuite plugin starts it, asks it and stops it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.clients import HttpResponse, ServiceClient, WebsocketClient
from mpchat.testsuite.service import DEADLINE, wait_until
from tests.kit.ports import free_port

MAIN = f"""#!{sys.executable}
from mpchat import Key, WebsocketHandlerBase, daemon_main, minimal_server_component_list

RATE = Key("MY_RATE", int, default=10)


class Chat(WebsocketHandlerBase):
    name = "websocket-handler"
    dynamic_config_keys = (RATE,)

    async def handle(self, chat, context):
        async for _message in chat:
            await chat.send(str(context.config[RATE]))


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Chat))
"""

TESTS_CONTROL = {
    "method": "POST",
    "path": "/tests/{action}",
    "skip-unregistered-testpoints": True,
    "task_processor": "main-task-processor",
    "testpoint-timeout": "10s",
    "testpoint-url": "http://localhost:1/testpoint",
    "throttling_enabled": False,
}


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    """As userver's hooks leave it: ports, loggers, variables and tests-control rewritten."""
    service_config_yaml["components_manager"]["components"] |= {
        "testsuite-support": None,
        "http-client": {"fs-task-processor": "main-task-processor"},
        "dns-client": {"fs-task-processor": "fs-task-processor"},
        "tests-control": dict(TESTS_CONTROL),
    }
    components = service_config_yaml["components_manager"]["components"]
    components["server"]["listener"]["port"] = free_port()
    del components["handler-ping"]
    return service_config_yaml


@pytest.fixture
def port(service_config_yaml: Any, service_tmpdir: Path) -> Iterator[int]:
    variables = service_tmpdir / "config_vars.yaml"
    variables.write_text("testsuite-enabled: true\nlogger_level: debug\n")
    service_config_yaml["config_vars"] = str(variables)
    config = service_tmpdir / "config.yaml"
    config.write_text(json.dumps(service_config_yaml))
    binary = service_tmpdir / "service"
    binary.write_text(MAIN)
    binary.chmod(0o755)
    port: int = service_config_yaml["components_manager"]["components"]["server"]["listener"][
        "port"
    ]
    process = subprocess.Popen(
        [str(binary), "--config", str(config)], cwd="/", stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: process.poll() is not None or answers(port), "an open port")
        yield port
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


Action = Callable[..., Any]


@pytest.fixture
def action(port: int) -> Action:
    async def run(name: str, /, **body: Any) -> HttpResponse:
        return await ServiceClient(port).post(f"/tests/{name}", body)

    return run


async def test_the_first_requests_of_the_plugin(action: Action) -> None:
    answer = await action("get_dynamic_config_defaults")
    defaults = answer.json()
    assert defaults["MY_RATE"] == 10
    assert defaults["USERVER_LOG_REQUEST"] is True
    state: dict[str, Any] = {
        "invalidate_caches": {"update_type": "full"},
        "testpoints": [],
        "mock_now": None,
    }
    answer = await action("control", **state)
    assert (answer.status, answer.json()) == (200, {})


async def test_a_change_reaches_every_worker_before_the_answer(
    action: Action, port: int, config_fallback_path: Path
) -> None:
    for rate in range(20, 25):
        config_fallback_path.write_text(json.dumps({"MY_RATE": rate}))
        assert (await action("control", invalidate_caches={"update_type": "full"})).status == 200
        for _ in range(8):
            async with WebsocketClient(port).get("chat") as chat:
                await chat.send("?")
                assert await chat.recv() == str(rate)
    config_fallback_path.write_text('{"MY_RATE": "fast"}')
    answer = await action("control", invalidate_caches={"update_type": "full"})
    assert answer.status == 500
    assert "MY_RATE: expected an integer, got 'fast'" in answer.text
    os.unlink(config_fallback_path)
    assert (await action("control")).status == 200


async def test_what_has_no_counterpart_is_refused_by_name(action: Action, port: int) -> None:
    for name, body, status, text in (
        ("control", {"testpoints": ["a"]}, 400, "testpoints"),
        ("run_periodic_task", {"name": "x"}, 404, "unknown action run_periodic_task"),
    ):
        answer = await action(name, **body)
        assert answer.status == status
        assert text in answer.text
    client = ServiceClient(port)
    json_type = {"Content-Type": "application/json"}
    for data in ("{", "[]"):
        answer = await client.post("/tests/control", data=data, headers=json_type)
        assert answer.status == 400
    assert (await client.post("/tests/control", data="{}")).status == 415
    assert (await client.get("/tests/control")).status == 405
