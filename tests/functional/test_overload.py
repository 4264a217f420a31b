"""A service that gets more new requests than it can take: whom it refuses, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from mpchat.testsuite.clients import HttpResponse, ServiceClient, WebsocketClient
from mpchat.testsuite.dynamic_config import DynamicConfig
from tests.kit.control import Control
from tests.kit.waiting import eventually

APP = """
import time

from mpchat import HttpHandlerBase, default_component_list, response


class Burning(HttpHandlerBase):
    name = "handler-burning"

    async def handle_request(self, request, context):
        end = time.process_time() + 0.01
        while time.process_time() < end:
            pass
        return response(200, "ash")


class Free(HttpHandlerBase):
    name = "handler-free"

    async def handle_request(self, request, context):
        return response(200, "free")


components = default_component_list()
for cls in (Burning, Free):
    components.append(cls)
"""
SECTION = {"only-rtc": False, "min-cpu": 0, "status-code": 503}
QUICK = {
    "min-limit": 2,
    "up-rate-percent": 2.0,
    "down-rate-percent": 2.0,
    "overload-on-seconds": 1,
    "overload-off-seconds": 1,
    "up-level": 2,
    "down-level": 1,
    "no-limit-seconds": 2,
    "start-limit-factor": 0.1,
}
"""A limit within seconds, which goes as quickly."""
CLIENTS = 8


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "burning.py").write_text(APP)
    return [*service_command, "--app", "burning:components"]


@pytest.fixture
def section() -> dict[str, Any]:
    return {**SECTION, "fake-mode": False}


@pytest.fixture
def workers() -> int:
    return 1


@pytest.fixture
def service_config_yaml(service_config_yaml: Any, section: dict[str, Any], workers: int) -> Any:
    manager = service_config_yaml["components_manager"]
    manager["task_processors"]["main-task-processor"]["worker_threads"] = workers
    manager["components"] |= {
        "congestion-control": section,
        "handler-burning": {"path": "/burning", "method": "GET,POST"},
        "handler-free": {"path": "/free", "throttling_enabled": False},
    }
    return service_config_yaml


@contextlib.asynccontextmanager
async def storm(client: ServiceClient, path: str = "/burning") -> AsyncIterator[list[HttpResponse]]:
    """Send one request after the other, from each of several clients; yields the answers so far."""
    answers: list[HttpResponse] = []

    async def ask() -> None:
        while True:
            answers.append(await client.get(path))

    tasks = [asyncio.create_task(ask()) for _ in range(CLIENTS)]
    try:
        yield answers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def turn_on(dynamic_config: DynamicConfig, **changes: Any) -> None:
    dynamic_config.set(
        USERVER_RPS_CCONTROL_ENABLED=True,
        USERVER_RPS_CCONTROL={**QUICK, **changes},
        USERVER_RPS_CCONTROL_CUSTOM_STATUS={"initial-status-code": 429, "max-time-ms": 1500},
    )


def refusals(answers: list[HttpResponse], status: int) -> list[HttpResponse]:
    return [answer for answer in answers if answer.status == status]


@pytest.mark.covers("HandlerBase.throttling_enabled")
@pytest.mark.covers("USERVER_RPS_CCONTROL")
@pytest.mark.covers("USERVER_RPS_CCONTROL_ENABLED")
@pytest.mark.covers("USERVER_RPS_CCONTROL_CUSTOM_STATUS")
async def test_a_storm_is_refused_and_who_is_connected_is_served(
    service_client: ServiceClient,
    websocket_client: WebsocketClient,
    dynamic_config: DynamicConfig,
    control: Control,
) -> None:
    turn_on(dynamic_config)
    async with websocket_client.get("chat") as chat, storm(service_client) as answers:
        # The first refusals have a status of their own.
        await eventually(lambda: refusals(answers, 429), "a refusal with the status of a new limit")
        await eventually(lambda: refusals(answers, 503), "a refusal with the usual status")
        await chat.send("hello")
        assert await chat.recv() == "hello"
        refused = refusals(answers, 429)[0]
        assert refused.headers["x-yataxi-ratelimited-by"] == socket.gethostname()
        assert refused.headers["x-yataxi-ratelimit-reason"] == "congestion-control"
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert refused.headers["connection"] == "close"
        assert refused.json()["message"] == "the service is busy: try again later"
        with pytest.raises(InvalidStatus) as caught:
            while True:
                async with websocket_client.get("chat"):
                    pass
        assert caught.value.response.status_code in {429, 503}
        # Whoever is exempt is served.
        assert (await service_client.get("/free")).text == "free"
        (worker,) = control.workers()
        assert worker["congestion_limit"] >= 2
    await eventually(
        lambda: control.workers()[0]["congestion_limit"] is None, "the end of the limit"
    )
    assert (await service_client.get("/burning")).text == "ash"
    assert control.limits()["congestion-control"] > 0


@pytest.mark.parametrize("section", [{**SECTION, "fake-mode": True}])
async def test_fake_mode_refuses_nobody(
    service_client: ServiceClient,
    dynamic_config: DynamicConfig,
    control: Control,
) -> None:
    turn_on(dynamic_config)
    async with storm(service_client) as answers:
        await eventually(
            lambda: control.totals()["congestion_overloaded_under_pressure"], "an overload"
        )
    assert {answer.status for answer in answers} == {200}
    assert control.limits().get("congestion-control") is None


@pytest.mark.parametrize("workers", [2])
@pytest.mark.covers("USERVER_TASK_PROCESSOR_QOS")
async def test_the_smallest_limit_of_the_service_is_divided_among_its_workers(
    service_client: ServiceClient, dynamic_config: DynamicConfig, control: Control
) -> None:
    # All workers share one machine, so any lag counts here.
    queue = {
        "action": "ignore",
        "length_limit": 0,
        "time_limit_us": 0,
        "sensor_time_limit_us": 1000,
    }
    pools = {"default-task-processor": {"wait_queue_overload": queue}}
    dynamic_config.set(USERVER_TASK_PROCESSOR_QOS={"default-service": pools})
    # A limit that is set stays until the other worker has one.
    stays = {"overload-off-seconds": 1000}
    turn_on(dynamic_config, **{"min-limit": 15, "start-limit-factor": 0.0, **stays})

    def limits() -> list[int]:
        return [worker["congestion_limit"] for worker in control.workers()]

    async with storm(service_client):
        # Half of 15 for each, rounded up.
        await eventually(lambda: limits() == [8, 8], "a limit of both workers")


async def test_a_body_is_refused_before_it_is_sent(
    service_client: ServiceClient, service_port: int, dynamic_config: DynamicConfig
) -> None:
    turn_on(dynamic_config, **{"min-limit": 1, "start-limit-factor": 0.0})
    head = b"POST /burning HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"

    async def first_line() -> bytes:
        reader, writer = await asyncio.open_connection("localhost", service_port)
        writer.write(head)
        line = await reader.readline()
        writer.close()
        return line

    async with storm(service_client) as answers:
        await eventually(lambda: refusals(answers, 429), "a refusal")
        async with asyncio.timeout(30):
            while not (await first_line()).startswith(b"HTTP/1.1 429 "):
                pass
