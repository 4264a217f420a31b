"""SIGHUP: good and bad files under traffic, and what the service manager is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service
from tests.kit.control import Control
from tests.kit.waiting import eventually


@pytest.mark.shared_service
def test_a_good_file_is_a_new_generation(supervisor: Service, control: Control) -> None:
    number = control.status()["generation"] + 1
    told = f"4 workers ready, 0 connections, dynamic config generation {number}"
    assert supervisor.reload() == told
    begun = [m for m in supervisor.notifications if m.get("RELOADING") == "1"]
    assert int(begun[-1]["MONOTONIC_USEC"]) > 0


BAD = {
    "syntax": ('{"A": 1,\n "B" }', ":2:6: not valid JSON: expecting ':' delimiter"),
    "half-written": ('{"USERVER_LOG_REQUEST": tr', ":1:25: not valid JSON: expecting value"),
    "type": (
        '{"USERVER_LOG_REQUEST": "yes"}',
        ":1:25: USERVER_LOG_REQUEST: expected true or false, got 'yes'",
    ),
    "schema": (
        '{\n\t"MPCHAT_LIMITS": {"max_conections": 5}}',
        ":2:38: MPCHAT_LIMITS.max_conections: unknown option; did you mean 'max_connections'?",
    ),
    "ours": ('{"MPCHAT_LIMIT": {}}', ":1:18: MPCHAT_LIMIT: unknown variable; known are "),
    "twice": ('{"A": 1, "A": 2}', ":1:10: A: given twice"),
    "constant": ('{"A": "NaN",\n "B": [NaN]}', ":2:8: not valid JSON: NaN is not a JSON number"),
    "no object": ("[]", ":1:1: expected an object of variables"),
}


@pytest.mark.covers("DynamicConfigFallbacksOptions.fallback-path")
@pytest.mark.shared_service
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_changes_nothing(
    supervisor: Service, control: Control, config_fallback_path: Path, kind: str
) -> None:
    number = control.status()["generation"]
    text, expected = BAD[kind]
    config_fallback_path.write_text(text)
    status = supervisor.reload()
    assert f"generation {number}; the last reload failed: " in status
    assert f"dynamic_config_fallback.json{expected}" in status
    assert expected in supervisor.stderr()


@pytest.mark.shared_service
@pytest.mark.parametrize("kind", ["missing", "pipe", "folder"])
def test_a_file_that_is_none(
    supervisor: Service, control: Control, config_fallback_path: Path, kind: str
) -> None:
    number = control.status()["generation"]
    config_fallback_path.unlink()
    if kind == "pipe":
        os.mkfifo(config_fallback_path)
    elif kind == "folder":
        config_fallback_path.mkdir()
    reason = "cannot be read" if kind == "missing" else "expected a regular file"
    status = supervisor.reload()
    # The next test finds a place for its file.
    if kind == "folder":
        config_fallback_path.rmdir()
    else:
        config_fallback_path.unlink(missing_ok=True)
    assert f"generation {number}; the last reload failed: " in status
    assert reason in status


@pytest.mark.shared_service
async def test_a_storm_of_reloads_closes_no_connection(
    supervisor: Service, websocket_client: WebsocketClient, config_fallback_path: Path
) -> None:
    good = config_fallback_path.read_text()
    async with websocket_client.get("chat") as first, websocket_client.get("chat") as second:
        for number in range(100):
            config_fallback_path.write_text(good if number % 3 else "{")
            supervisor.send_signal(signal.SIGHUP)
            for chat in (first, second):
                await chat.send(str(number))
                assert await chat.recv() == str(number)
        config_fallback_path.write_text(json.dumps({"USERVER_LOG_REQUEST": False}))
        status = await asyncio.to_thread(supervisor.reload)
        assert status.startswith("4 workers ready")
        # A storm coalesces, so the last signal may have found a reload under way: once more.
        status = await asyncio.to_thread(supervisor.reload)
        assert "failed" not in status


@pytest.mark.covers("USERVER_LOG_REQUEST")
@pytest.mark.shared_service
async def test_log_request_takes_effect(
    supervisor: Service, websocket_client: WebsocketClient, dynamic_config: Any
) -> None:
    def handshakes() -> int:
        return supervisor.stderr().count("GET /chat 101")

    async with websocket_client.get("chat"):
        pass
    await eventually(lambda: handshakes() == 1, "line of the handshake")
    await asyncio.to_thread(dynamic_config.set, USERVER_LOG_REQUEST=False)
    async with websocket_client.get("chat"):
        pass
    await asyncio.to_thread(dynamic_config.set, USERVER_LOG_REQUEST=True)
    async with websocket_client.get("chat"):
        pass
    await eventually(lambda: handshakes() >= 2, "line of the handshake")
    assert handshakes() == 2


CRASHING_APP = """
import os

from pydantic import AfterValidator
from typing import Annotated

from mpchat import Key, WebsocketHandlerBase, minimal_server_component_list

DEADLY = Key("DEADLY", Annotated[bool, AfterValidator(lambda value: value and os._exit(3))], False)


class Chat(WebsocketHandlerBase):
    name = "websocket-handler"
    dynamic_config_keys = (DEADLY,)

    async def handle(self, chat, context):
        pass


components = minimal_server_component_list().append(Chat)
"""


def test_a_file_that_templates_die_of_fails_soon(
    service_command: list[str],
    service_config_path_temp: Path,
    config_fallback_path: Path,
    service_tmpdir: Path,
) -> None:
    (service_tmpdir / "crashing.py").write_text(CRASHING_APP)
    command = [
        *service_command,
        "--app",
        "crashing:components",
        "-c",
        str(service_config_path_temp),
    ]
    config = yaml.safe_load(service_config_path_temp.read_text())
    del config["components_manager"]["components"]["handler-ping"]
    service_config_path_temp.write_text(yaml.safe_dump(config))
    service = Service(command, service_tmpdir)
    try:
        service.wait_ready()
        good = config_fallback_path.read_text()
        config_fallback_path.write_text('{"DEADLY": true}')
        status = service.reload()
        assert "reading it ended the template 2 times: exit status 3" in status
        config_fallback_path.write_text(good)
        assert "generation 2" in service.reload()
    finally:
        service.close()
