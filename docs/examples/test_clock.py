"""An author's test, here of clock.py: `pytest test_clock.py`, with `asyncio_mode = auto`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.logs import CaptureLogs

pytest_plugins = ["mpchat.testsuite"]
FOLDER = Path(__file__).parent


@pytest.fixture
def service_binary() -> str:
    return str(FOLDER / "clock.py")


@pytest.fixture
def service_config_path() -> Path:
    return FOLDER / "clock.yaml"


async def test_time_goes_on(
    websocket_client: WebsocketClient, dynamic_config: DynamicConfig
) -> None:
    dynamic_config.set(CLOCK_INTERVAL_MS=1)  # when this returns, every worker uses it
    async with websocket_client.get("times") as chat, asyncio.timeout(30):
        await chat.send("what is the time?")
        first = later = await chat.recv()
        while later == first:
            await chat.send("and now?")
            later = await chat.recv()


def test_a_clock_must_not_run_hot(dynamic_config: DynamicConfig) -> None:
    with pytest.raises(ValueError, match="CLOCK_INTERVAL_MS: expected at least 1, got 0"):
        dynamic_config.set(CLOCK_INTERVAL_MS=0)


async def test_connections_are_logged(
    websocket_client: WebsocketClient, capture_logs: CaptureLogs
) -> None:
    async with capture_logs() as logs:
        async with websocket_client.get("times"):
            pass
        record = await logs.wait_for(text="closed 1000")
    assert record["module"] == "mpchat.handlers.handler-times"
