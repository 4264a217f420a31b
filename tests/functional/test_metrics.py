"""Authors' own metrics of a real service: what was counted is shown, whatever becomes of who counted."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mpchat.ipc.control import ControlError
from mpchat.testsuite.clients import ServiceClient
from mpchat.testsuite.service import Service, wait_until
from tests.functional.test_console import ask, port_of
from tests.kit.control import Control
from tests.kit.waiting import eventually

APP = """
import asyncio, multiprocessing, os
from concurrent.futures import ProcessPoolExecutor
from mpchat import HttpHandlerBase, daemon_main, metrics, minimal_server_component_list, response

class Orders(HttpHandlerBase):
    name = "handler-orders"
    taken = metrics.counter("orders", "Orders taken", labels={"kind": ("buy", "sell")})
    open = metrics.gauge("open", "Open orders")
    waited = metrics.histogram("wait.seconds", "Waited", bounds=(0.1, 1), unit="seconds")

    async def start(self):
        pass

    async def handle_request(self, request, context):
        kind = request.query["kind"]
        self.taken.inc(kind=kind)
        self.open.inc()
        await asyncio.to_thread(self.waited.observe, 0.5)
        return response(200, str(os.getpid()))

class Forks(Orders):
    name = "handler-forks"

    async def handle_request(self, request, context):
        fork = multiprocessing.get_context("fork")
        reader, writer = fork.Pipe()
        process = fork.Process(target=self.count, args=(writer,))
        process.start()
        while not reader.poll():
            await asyncio.sleep(0.01)
        process.join()
        return response(200, reader.recv())

    def count(self, writer):
        try:
            self.taken.inc(kind="buy")
        except RuntimeError as error:
            writer.send(str(error))

if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Orders).append(Forks))
"""
OURS = {"orders", "open", "wait_seconds", "other"}
TAKEN = 'taken = metrics.counter("orders", "Orders taken", labels={"kind": ("buy", "sell")})'


@pytest.fixture
def app(service_tmpdir: Path) -> Path:
    path = service_tmpdir / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture
def service_command(app: Path) -> list[str]:
    return [sys.executable, "-B", str(app)]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    manager = service_config_yaml["components_manager"]
    manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
    components = manager["components"]
    components["server"]["listener-monitor"] = {"port": 0}
    components["handler-metrics"] = {"path": "/metrics"}
    for name in ("handler-ping", "websocket-handler"):
        del components[name]
    for name in ("orders", "forks"):
        components[f"handler-{name}"] = {"path": f"/{name}"}
    return service_config_yaml


class Orders:
    """Gives orders, and knows what they have to add up to."""

    def __init__(self, client: ServiceClient, control: Control) -> None:
        self._client = client
        self._control = control
        self.taken: Counter[str] = Counter()
        self.open: Counter[int] = Counter()
        """By worker"""
        self.waited = 0

    async def give(self, kind: str, count: int = 20) -> None:
        async def give_one() -> None:
            answer = await self._client.get("/orders", params={"kind": kind})
            assert answer.status == 200
            self.taken[kind] += 1
            self.waited += 1
            self.open[int(answer.text)] += 1

        await asyncio.gather(*(give_one() for _ in range(count)))

    def expected(self) -> dict[str, Any]:
        return {
            "orders": {kind: float(count) for kind, count in self.taken.items()},
            "open": {"": float(sum(self.open.values()))},
            **waits("wait_seconds", self.waited),
        }

    def shown(self) -> dict[str, Any]:
        """Return what the console shows of orders, by metric and value of its label, but no zeros."""
        found: dict[str, Any] = {}
        status, text, _headers = ask(port_of(self._control), "GET", "/metrics")
        assert status == 200
        for family in text_string_to_metric_families(text):
            if family.name not in OURS:
                continue
            for sample in family.samples:
                label = sample.labels.get("le") or sample.labels.get("kind", "")
                if sample.value:
                    part = sample.name.removeprefix(family.name).removeprefix("_total")
                    found.setdefault(f"{family.name}{part}", {})[label] = sample.value
        return found


def waits(name: str, count: int) -> dict[str, dict[str, float]]:
    """Return what is shown of a histogram of so many orders that waited for half a second."""
    return {
        f"{name}_bucket": {"1.0": count, "+Inf": count},
        f"{name}_count": {"": count},
        f"{name}_sum": {"": count / 2},
    }


def memories(service: Service) -> set[int]:
    """Return the memories of metrics that the supervisor has."""
    folder = Path(f"/proc/{service.pid}/fd")
    found = [path for path in folder.iterdir() if "memfd:mpchat-metrics" in os.readlink(path)]
    return {path.stat().st_ino for path in found}


@pytest.fixture
def orders(service_client: ServiceClient, control: Control) -> Orders:
    return Orders(service_client, control)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


async def test_what_workers_have_counted_outlives_them(
    orders: Orders, supervisor: Service, control: Control
) -> None:
    await orders.give("buy")
    await orders.give("sell", 7)
    assert orders.shown() == orders.expected()
    victim = next(iter(orders.open))
    os.kill(victim, signal.SIGKILL)
    await eventually(lambda: len(control.ready() - {victim}) == 2, "a new worker")
    del orders.open[victim]
    assert orders.shown() == orders.expected()
    await orders.give("buy")
    assert orders.shown() == orders.expected()
    for count in (3, 1):
        await asyncio.to_thread(control.scale, count)
        await orders.give("sell", 9)
        alive = {worker["pid"] for worker in control.workers() if "pid" in worker}
        await eventually(lambda: len(supervisor.pids("worker")) == count, "the others' end")  # noqa: B023
        orders.open = Counter({pid: orders.open[pid] for pid in supervisor.pids("worker")})
        assert alive >= {pid for pid, opened in orders.open.items() if opened}
        assert orders.shown() == orders.expected()


async def test_totals_stay_whatever_new_code_declares(
    orders: Orders, app: Path, control: Control, supervisor: Service
) -> None:
    async def restart() -> None:
        await asyncio.to_thread(control.restart)
        # Gauges go when the old workers have ended.
        await eventually(lambda: len(supervisor.pids("worker")) == 2, "the old workers' end")
        orders.open.clear()

    await orders.give("buy")
    change(app, '("buy", "sell")', '("rent", "buy")')
    change(app, 'waited = metrics.histogram("wait.seconds"', 'waited = metrics.histogram("other"')
    await restart()
    await orders.give("rent", 5)
    orders.waited -= 5
    expected = {**orders.expected(), **waits("other", 5)}
    assert orders.shown() == expected
    change(app, 'histogram("other"', 'histogram("wait.seconds"')
    change(app, '("rent", "buy")', '("buy", "sell")')
    for _ in range(2):
        await restart()
        await orders.give("sell", 3)
        assert orders.shown() == {**orders.expected(), **waits("other", 5)}
    # Of another kind now, so it begins anew.
    change(app, TAKEN, TAKEN.replace("counter", "gauge"))
    await restart()
    await orders.give("buy", 2)
    assert orders.shown()["orders"] == {"buy": 2.0}
    text = "the metric orders is of another kind now, or has other labels or bounds: it begins anew"
    assert text in supervisor.stderr()
    assert len(memories(supervisor)) <= 2
    shown = orders.shown()
    (console,) = supervisor.pids("console")
    os.kill(console, signal.SIGKILL)
    await eventually(lambda: supervisor.pids("console") not in ([console], []), "a new console")
    assert orders.shown() == shown


async def test_a_restart_that_fails_loses_nothing(
    orders: Orders, app: Path, control: Control
) -> None:
    await orders.give("buy")
    before = app.read_text()
    change(app, "    async def start(self):\n", "    async def start(self):\n        1 / 0\n")
    change(app, TAKEN, TAKEN.replace("counter", "gauge"))
    for _ in range(3):
        with pytest.raises(ControlError, match="nothing has changed: the old workers stay"):
            await asyncio.to_thread(control.restart)
        await orders.give("sell", 3)
    app.write_text(before)
    await asyncio.to_thread(control.restart)
    await orders.give("buy", 3)
    shown, expected = orders.shown(), orders.expected()
    del shown["open"], expected["open"]
    assert shown == expected


@pytest.mark.shared_service
async def test_a_process_that_a_handler_has_forked_is_told_that_it_cannot_count(
    service_client: ServiceClient, supervisor: Service
) -> None:
    answer = await service_client.get("/forks")
    assert answer.text == (
        "a process that was forked from a worker has no metrics: count in the worker itself"
    )
    wait_until(lambda: len(supervisor.pids("worker")) == 2, "both workers")
