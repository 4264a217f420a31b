"""The metrics of a real service: what they count is what clients have counted, whatever dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from mpchat.ipc.control import ControlError
from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.service import Service
from tests.functional.test_console import ask, port_of
from tests.kit.control import Control
from tests.kit.waiting import eventually

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]
TEXT = "forty letters and digits, not one less.."


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    manager = service_config_yaml["components_manager"]
    manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
    components = manager["components"]
    components["server"]["listener-monitor"] = {"port": 0}
    components["handler-metrics"] = {"path": "/metrics"}
    components["rooms"] = {"history-memory": 4 * 1024 * 1024}
    components["room-handler"] = {"path": "/rooms/{room}"}
    return service_config_yaml


class Metrics:
    """The console's answers, whose counters have to rise."""

    def __init__(self, control: Control) -> None:
        self._port = port_of(control)
        self._counters: Values = {}

    def read(self) -> Values:
        """Return all values; no counter is below its last value, or gone."""
        status, text, _headers = ask(self._port, "GET", "/metrics")
        assert status == 200
        families: list[Metric] = list(text_string_to_metric_families(text))
        found: Values = {}
        counters: Values = {}
        for family in families:
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in found
                found[key] = sample.value
                if family.type in {"counter", "histogram"}:
                    counters[key] = sample.value
        fallen = {key: value for key, value in self._counters.items() if counters[key] < value}
        assert not fallen
        self._counters = counters
        return found

    def value(self, name: str, **labels: str) -> float:
        """Return one of them, 0 if it is not there yet."""
        return self.read().get((name, frozenset(labels.items())), 0)


@dataclass
class Clients:
    """Clients of the echo and of HTTP, and what they have counted."""

    websockets: WebsocketClient
    http: ServiceClient
    counted: Counter[str] = field(default_factory=Counter)

    async def talk(self, connections: int = 6, messages: int = 5) -> None:
        """Open so many connections, send so many messages on each, and end them."""

        async def one() -> None:
            async with self.websockets.get("chat") as chat:
                for _ in range(messages):
                    await chat.send(TEXT)
                    assert await chat.recv() == TEXT

        await asyncio.gather(*(one() for _ in range(connections)))
        self.counted["connections"] += connections
        self.counted["messages"] += connections * messages

    async def ask(self, path: str, status: int) -> None:
        """Ask for a path."""
        assert (await self.http.get(path)).status == status
        self.counted[str(status)] += 1

    async def everything(self) -> None:
        """Do some of each."""
        await self.talk()
        for _ in range(3):
            await self.ask("/ping", 200)
        await self.ask("/nowhere", 404)


async def test_they_count_what_clients_count_over_a_crash_a_restart_and_scaling(
    supervisor: Service,
    control: Control,
    websocket_client: WebsocketClient,
    service_client: ServiceClient,
) -> None:
    metrics, clients = Metrics(control), Clients(websocket_client, service_client)

    async def is_counted() -> None:
        counted = clients.counted
        expected = {
            ("ws_msg_recv_total", "websocket-handler"): counted["messages"],
            ("ws_msg_sent_total", "websocket-handler"): counted["messages"],
            ("ws_bytes_recv_total", "websocket-handler"): len(TEXT) * counted["messages"],
            ("ws_connections_opened_total", "websocket-handler"): counted["connections"],
            ("ws_connections_active", "websocket-handler"): 0,
        }

        def as_counted() -> bool:
            found = metrics.read()
            codes: Counter[str] = Counter()
            for (name, labels), value in found.items():
                if name == "http_handler_total_reply_codes_total":
                    codes[dict(labels)["http_code"]] += int(value)
            return codes == {
                "101": counted["connections"],
                "200": counted["200"],
                "404": counted["404"],
            } and all(
                found[name, frozenset({("component", component)})] == value
                for (name, component), value in expected.items()
            )

        await eventually(as_counted, f"counts of {dict(counted)}")

    await clients.everything()
    await is_counted()
    for pid in control.ready():
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda pid=pid: pid not in control.ready(), "its end")  # type: ignore[misc]
        await eventually(lambda: len(control.ready()) == 2, "another worker")
    await clients.everything()
    await is_counted()
    await asyncio.to_thread(control.restart)
    await clients.everything()
    await is_counted()
    await asyncio.to_thread(control.scale, 3)
    await clients.everything()
    await is_counted()
    await asyncio.to_thread(control.scale, 1)
    await clients.everything()
    await is_counted()
    found = metrics.read()
    nothing: frozenset[tuple[str, str]] = frozenset()
    messages = clients.counted["messages"]
    assert found["mpchat_message_size_bytes_count", nothing] == messages
    assert found["mpchat_message_size_bytes_sum", nothing] == messages * len(TEXT)
    timed = found["mpchat_message_handling_seconds_count", nothing]
    # Each worker begins to count anew, and has had more than sixteen.
    assert messages / 32 < timed <= messages / 16
    assert found["mpchat_handshake_seconds_count", nothing] == clients.counted["connections"]
    assert found["mpchat_connection_life_seconds_count", nothing] == clients.counted["connections"]
    assert found["mpchat_restarts_total", frozenset({("result", "done")})] == 1
    restarts = {
        dict(labels)["process"]: value
        for (name, labels), value in found.items()
        if name == "mpchat_process_restarts_total"
    }
    assert restarts["main-task-processor/0"] == 2
    assert restarts["template"] == restarts["monitor"] == 0


@pytest.mark.shared_service
async def test_messages_of_rooms_have_their_delivery_timed(
    supervisor: Service, control: Control, websocket_client: WebsocketClient
) -> None:
    metrics = Metrics(control)
    before = metrics.value("mpchat_room_delivery_seconds_count")
    messages = metrics.value("mpchat_broker_messages_total")
    async with websocket_client.get("rooms/a", subprotocols=["mpchat.room.v1"]) as chat:
        assert json.loads(await chat.recv())["room"] == "a"
        for number in range(5):
            await chat.send(json.dumps({"publish": str(number), "data": number}))
            found = {str(json.loads(await chat.recv()).keys()) for _ in range(2)}
            assert len(found) == 2
    await eventually(
        lambda: metrics.value("mpchat_room_delivery_seconds_count") == before + 5, "five deliveries"
    )
    await eventually(
        lambda: metrics.value("mpchat_broker_messages_total") == messages + 5, "five messages"
    )
    assert metrics.value("mpchat_broker_up") == 1


@pytest.mark.shared_service
async def test_a_killed_broker_and_a_killed_monitor_are_counted_and_nothing_falls(
    supervisor: Service, control: Control, websocket_client: WebsocketClient
) -> None:
    metrics = Metrics(control)
    metrics.read()
    for process in ("broker", "monitor", "template"):
        before = metrics.value("mpchat_process_restarts_total", process=process)
        (pid,) = supervisor.pids(process)
        os.kill(pid, signal.SIGKILL)
        await eventually(
            lambda process=process, before=before: (  # type: ignore[misc]
                metrics.value("mpchat_process_restarts_total", process=process) == before + 1
            ),
            f"another {process}",
        )


@pytest.mark.shared_service
async def test_reloads_and_mistakes_in_the_dynamic_config_are_counted(
    supervisor: Service, control: Control, config_fallback_path: Any
) -> None:
    metrics = Metrics(control)
    parsed = "dynamic_config_was_last_parse_successful"
    applied = metrics.value("mpchat_reloads_total", result="applied")
    failed = metrics.value("mpchat_reloads_total", result="failed")
    mistakes = metrics.value("dynamic_config_parse_errors_total")
    whole = config_fallback_path.read_text()
    config_fallback_path.write_text("{")
    with pytest.raises(ControlError):
        await asyncio.to_thread(control.ask, "reload")
    assert metrics.value(parsed) == 0
    assert metrics.value("mpchat_reloads_total", result="failed") == failed + 1
    assert metrics.value("dynamic_config_parse_errors_total") == mistakes + 1
    config_fallback_path.write_text(whole)
    await asyncio.to_thread(control.ask, "reload")
    assert metrics.value(parsed) == 1
    assert metrics.value("mpchat_reloads_total", result="applied") == applied + 1
