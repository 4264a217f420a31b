"""Workers whose event loop stands still, and those that only seem to."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.service import Service, wait_until
from tests.kit.control import Control
from tests.kit.waiting import eventually

pytestmark = pytest.mark.shared_service

APP = """
import re
import time

from mpchat import WebsocketHandlerBase, minimal_server_component_list


class Stuck(WebsocketHandlerBase):
    name = "websocket-handler"

    async def handle(self, chat, context):
        async for message in chat:
            match message:
                case "sleep":
                    time.sleep(60)
                case "a moment":
                    time.sleep(0.2)
                case "burn":
                    burn(time.thread_time() + 0.05)
                case "sum":
                    sum(range(10**12))
                case "re":
                    re.match("(a|a)*$", 40 * "a" + "b")
            await chat.send(message)


def burn(until):
    while time.thread_time() < until:
        pass


components = minimal_server_component_list().append(Stuck)
"""


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "app.py").write_text(APP)
    return [*service_command, "--app", "app:components"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    del components["handler-ping"]
    # On a busy machine a worker that is only late is not taken for a stuck one.
    components["server"]["worker-hang-timeout"] = "2s"
    # By default nothing is said of the moment below.
    components["server"]["slow-callback-threshold"] = "100ms"
    return service_config_yaml


def restarts(control: Control) -> int:
    return sum(worker["restarts"] for worker in control.workers())


def logged(service: Service, text: str) -> None:
    wait_until(lambda: text in service.stderr(), f"line with {text}")


@pytest.mark.covers("ServerOptions.slow-callback-threshold")
async def test_what_holds_the_loop_for_a_moment_is_logged_with_its_stack(
    supervisor: Service, websocket_client: WebsocketClient
) -> None:
    async with websocket_client.get("chat") as chat:
        await chat.send("a moment")
        await chat.recv()
    logged(supervisor, "websocket-handler has held the event loop for ")
    logged(supervisor, "time.sleep(0.2)")


@pytest.mark.covers(
    "USERVER_TASK_PROCESSOR_PROFILER_DEBUG",
    "ProfilerDebug.enabled",
    "ProfilerDebug.execution-slice-threshold-us",
    "ProfilerDebug.profiler-force-stacktrace",
)
@pytest.mark.parametrize("pool", ["main-task-processor", "default-task-processor"])
async def test_what_burns_cpu_for_a_moment_is_named_while_the_profiler_is_on(
    supervisor: Service,
    websocket_client: WebsocketClient,
    dynamic_config: DynamicConfig,
    control: Control,
    pool: str,
) -> None:
    # A worker that has named this handler for another test does so again after ten seconds only.
    await asyncio.to_thread(control.restart)

    def profile(**fields: Any) -> Any:
        settings = {"enabled": True, "execution-slice-threshold-us": 2000, **fields}
        return {"USERVER_TASK_PROCESSOR_PROFILER_DEBUG": {pool: settings}}

    async with websocket_client.get("chat") as chat:

        async def burn() -> None:
            await chat.send("burn")
            assert await chat.recv() == "burn"

        await burn()
        await asyncio.to_thread(dynamic_config.set, **profile(enabled=False))
        await burn()
        await asyncio.to_thread(
            dynamic_config.set, **profile(**{"profiler-force-stacktrace": True})
        )
        await burn()
        await asyncio.to_thread(logged, supervisor, "websocket-handler held the event loop for ")
        told = supervisor.stderr().partition("websocket-handler held the event loop for ")[2]
        # The line has its newlines escaped.
        assert re.match(
            r"[\d.]+ ms, execution-slice-threshold-us is 2000: "
            r"in burn \(app.py:\d+\), handle \(app.py:\d+\).*in burn\\n    while time.thread_time\(\)",
            told,
        )
        # The next ones are counted.
        await burn()
        await burn()
    assert supervisor.stderr().count("websocket-handler held the event loop for ") == 1


@pytest.mark.covers("ServerOptions.worker-hang-timeout")
@pytest.mark.parametrize("how", ["sleep", "sum", "re"])
async def test_a_stuck_worker_is_replaced_and_its_stack_logged(
    supervisor: Service, websocket_client: WebsocketClient, control: Control, how: str
) -> None:
    before, restarts_before = set(supervisor.pids("worker")), restarts(control)
    async with websocket_client.get("chat") as chat:
        await chat.send(how)
        with pytest.raises(ConnectionClosed):
            await chat.recv()
    await eventually(lambda: len(set(supervisor.pids("worker")) - before) == 1, "new worker")
    (victim,) = before - set(supervisor.pids("worker"))
    await asyncio.to_thread(logged, supervisor, f"pid {victim}: killed by SIGABRT")
    text = supervisor.stderr()
    assert re.search(rf"pid {victim} is stuck: its event loop has not turned for \d+\.\d s", text)
    line = next(
        number
        for number, source in enumerate(APP.splitlines(), 1)
        if source.strip().startswith({"sleep": "time.sleep", "sum": "sum", "re": "re.match"}[how])
    )
    assert f'app.py", line {line} in handle' in text
    # The supervisor shows it at the end of its turn, when the line is in the log.
    await eventually(lambda: restarts(control) > restarts_before, "count of the restart")
    assert restarts(control) == restarts_before + 1


def test_a_worker_that_cannot_even_abort_is_killed(supervisor: Service) -> None:
    victim = supervisor.pids("worker")[0]
    supervisor.freeze(victim)
    logged(supervisor, f"pid {victim}: killed by SIGKILL")
    assert f"pid {victim} is killed: it did not write its stack in time" in supervisor.stderr()
    wait_until(lambda: len(supervisor.pids("worker")) == 4, "new worker")


def test_a_tree_that_was_stopped_is_left_alone(supervisor: Service, control: Control) -> None:
    children = list(supervisor.children())
    for pid in (supervisor.pid, *children):
        supervisor.freeze(pid)
    # The monitor goes on first, and tells how long the others have been silent.
    (monitor,) = supervisor.pids("monitor")
    supervisor.thaw(monitor)

    def silences() -> list[float]:
        return [process["silent_seconds"] for process in (control.status(), *control.workers())]

    wait_until(lambda: min(silences()) > 3, "silence of all beyond the hang timeout")
    for pid in (supervisor.pid, *children):
        supervisor.thaw(pid)
    wait_until(lambda: max(silences()) < 1, "end of all silence")
    # The supervisor looks at all workers again, since it finds this one.
    frozen = supervisor.pids("worker")[0]
    supervisor.freeze(frozen)
    logged(supervisor, f"pid {frozen} is killed")
    # It is said before it is done.
    wait_until(lambda: frozen not in supervisor.children(), "its end")
    assert set(children) - set(supervisor.children()) == {frozen}


async def test_a_stop_is_not_held_up_by_a_stuck_worker(
    supervisor: Service, websocket_client: WebsocketClient, dynamic_config: DynamicConfig
) -> None:
    # At the drain's deadline it would be killed anyway; stop() waits for half of that.
    dynamic_config.set(MPCHAT_DRAIN={"deadline_ms": 60_000})
    async with websocket_client.get("chat") as chat:
        await chat.send("sleep")
        await asyncio.to_thread(logged, supervisor, "is stuck: its event loop")
        assert await asyncio.to_thread(supervisor.stop, signal.SIGTERM) == 0
        with contextlib.suppress(ConnectionClosed):
            await chat.recv()
