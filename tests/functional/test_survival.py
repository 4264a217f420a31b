"""What the supervisor outlives: what the system refuses, odd text, a template that does not answer, a
worker that says what it may not say."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpchat.ipc.control import ControlError
from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service, wait_until
from tests.functional.conftest import Serve
from tests.kit.control import Control
from tests.kit.waiting import eventually

APP = '''
import array
import asyncio
import gc
import json
import os
import socket

from mpchat import WebsocketHandlerBase, minimal_server_component_list
from mpchat.ipc.channel import Channel
from mpchat.scoreboard.scoreboard import Scoreboard


def the_only(cls):
    (found,) = [item for item in gc.get_objects() if isinstance(item, cls)]
    return found


class Confused(WebsocketHandlerBase):
    """Does to its own process what a stray pointer would."""

    name = "websocket-handler"

    async def handle(self, chat, context):
        async for message in chat:
            order = json.loads(message)
            sock = the_only(Channel)._socket
            for packet in order.get("packets", []):
                packet = packet * order.get("times", 1)
                sock.send(packet.encode("utf-8", "surrogateescape"))
            for packet in order.get("with descriptors", []):
                rights = array.array("i", [0, 1, 2])
                sock.sendmsg([packet.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            if "flood" in order:
                for _ in range(order["flood"]):
                    while True:
                        try:
                            sock.send(b\'{"kind": "Retiring"}\')
                            break
                        except BlockingIOError:
                            await asyncio.sleep(0.001)
            if "shrink" in order:
                try:
                    os.ftruncate(the_only(Scoreboard).descriptor, 0)
                except OSError as error:
                    await chat.send(error.strerror)
                    continue
            await chat.send("done")


components = minimal_server_component_list().append(Confused)
'''


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "app.py").write_text(APP)
    return [*service_command, "--app", "app:components"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    del service_config_yaml["components_manager"]["components"]["handler-ping"]
    return service_config_yaml


def replaced(control: Control, before: set[int]) -> set[int]:
    """Return which of these workers are gone, once there are as many again."""
    now = control.ready()
    return before - now if len(now) == len(before) else set()


HELLO = '{"kind": "Hello", "pid": 1}'
NONSENSE = {
    "no JSON": ["hello"],
    "no UTF-8": ["\udcff\udcfe"],
    "no object": ["[]"],
    "no message": ['{"kind": "Nope"}'],
    "another process": [HELLO],
    "a number that is text": ['{"kind": "Applied", "number": "x"}'],
    "a generation that does not exist": ['{"kind": "Applied", "number": 99}'],
    "ready twice": ['{"kind": "Ready"}'],
    "a template's message": ['{"kind": "Snapshot", "stop_limit": 1}'],
    "an order that does not exist": ['{"kind": "Order", "number": 1, "verb": "dance"}'],
    "an order that makes no sense": [
        '{"kind": "Order", "number": 1, "verb": "scale", "arguments": {"count": "x"}}'
    ],
    "a level that makes no sense": [
        '{"kind": "Order", "number": 1, "verb": "log-level",'
        ' "arguments": {"logger": "default", "level": [], "number": {}}}'
    ],
    "a memfd that is not there": ["memfd"],
    "depth": ["[" * 30_000],
    "too much": [" " * 60_000],
}


@pytest.mark.shared_service
@pytest.mark.parametrize("how", NONSENSE)
async def test_a_worker_that_says_what_it_may_not_say_is_replaced_and_nobody_else(
    supervisor: Service, websocket_client: WebsocketClient, control: Control, how: str
) -> None:
    before = control.ready()
    async with websocket_client.get("chat") as chat:
        times = 2 if how == "too much" else 1
        await chat.send(json.dumps({"packets": NONSENSE[how], "times": times}))
    (victim,) = await eventually(lambda: replaced(control, before), "another worker in its place")
    line = f"pid {victim} is killed and replaced: it sent what it may not send"
    assert line in supervisor.stderr()
    assert control.status()["faults"] == 0
    async with websocket_client.get("chat") as chat:
        await chat.send("{}")
        assert await chat.recv() == "done"


@pytest.mark.shared_service
async def test_descriptors_that_do_not_belong_to_a_message_are_closed(
    supervisor: Service, websocket_client: WebsocketClient, control: Control
) -> None:
    folder = Path(f"/proc/{supervisor.pid}/fd")
    before = control.ready()

    def count() -> int:
        return len(list(folder.iterdir()))

    held = count()
    async with websocket_client.get("chat") as chat:
        await chat.send(json.dumps({"with descriptors": ['{"kind": "Retiring"}', "nonsense"]}))
    await eventually(lambda: replaced(control, before), "another worker")
    await eventually(lambda: count() == held, "as few descriptors as before")


@pytest.mark.shared_service
async def test_a_worker_that_floods_keeps_nobody_waiting(
    supervisor: Service, websocket_client: WebsocketClient
) -> None:
    async with websocket_client.get("chat") as chat:
        await chat.send(json.dumps({"flood": 3000}))
        status = await asyncio.to_thread(supervisor.reload)
        assert "failed" not in status


@pytest.mark.shared_service
async def test_the_scoreboard_cannot_be_shrunk_under_those_who_look_at_it(
    supervisor: Service, websocket_client: WebsocketClient
) -> None:
    async with websocket_client.get("chat") as chat:
        await chat.send(json.dumps({"shrink": True}))
        assert await chat.recv() == "Operation not permitted"


@pytest.mark.shared_service
def test_a_lone_surrogate_in_a_config_is_a_mistake_like_any_other(
    supervisor: Service, config_fallback_path: Path, control: Control
) -> None:
    config_fallback_path.write_text('{"MPCHAT_\\ud800": 1}')
    with pytest.raises(ControlError, match="unknown variable"):
        control.ask("reload")
    # The service manager is told, too, in UTF-8.
    supervisor.wait_notified(lambda message: "ud800" in message.get("STATUS", ""))
    assert control.ready() == set(supervisor.pids("worker"))


def test_a_scale_beyond_the_descriptors_is_refused_and_changes_nothing(
    serve: Serve, control: Control
) -> None:
    def descriptors(service: Service) -> set[str]:
        return {entry.name for entry in Path(f"/proc/{service.pid}/fd").iterdir()}

    limited = ("sh", "-c", 'ulimit -n 120; exec "$@"', "sh")
    changes = {"task_processors.main-task-processor.worker_threads": 2}
    with serve(changes, wrapper=limited) as service:
        before, workers = descriptors(service), control.ready()
        with pytest.raises(ControlError, match="more descriptors than the supervisor has left"):
            control.scale(40)
        assert descriptors(service) == before
        assert control.ready() == workers
        control.scale(3)
        wait_until(lambda: len(control.ready()) == 3, "third worker")


@pytest.fixture
def stopped_template(supervisor: Service) -> Iterator[int]:
    (template,) = supervisor.pids("template")
    supervisor.freeze(template)
    yield template
    if template in supervisor.children():
        supervisor.thaw(template)


@pytest.mark.shared_service
def test_a_template_that_does_not_answer_is_replaced_while_workers_wait(
    supervisor: Service, control: Control, stopped_template: int
) -> None:
    workers = control.ready()
    victim = min(workers)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: replaced(control, workers) == {victim}, "another worker")
    text = f"the template pid {stopped_template} is killed: it does not answer any more"
    assert text in supervisor.stderr()
    assert stopped_template not in supervisor.pids("template")


@pytest.mark.shared_service
def test_a_template_that_does_not_answer_is_replaced_while_nobody_needs_it(
    supervisor: Service, stopped_template: int
) -> None:
    def another() -> bool:
        found = supervisor.pids("template")
        return bool(found) and stopped_template not in found

    wait_until(another, "another template")
    assert supervisor.stop(signal.SIGTERM) == 0
