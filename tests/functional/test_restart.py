"""Rolling restarts: new code, new static config, slot by slot; and what becomes of those that fail."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from mpchat.ipc.control import ControlError
from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service, wait_until
from tests.functional.conftest import Serve
from tests.kit.control import Control
from tests.kit.verbs import Mpchat
from tests.kit.waiting import eventually

APP = """
from mpchat import WebsocketHandlerBase, daemon_main, minimal_server_component_list

VERSION = "1"


class Version(WebsocketHandlerBase):
    name = "websocket-handler"

    async def start(self):
        pass

    async def handle(self, chat, context):
        async for message in chat:
            await chat.send(VERSION)


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Version))
"""
FAILS_IN_SLOT_2 = """
        import setproctitle
        if setproctitle.getproctitle().endswith("/2"):
            raise RuntimeError("no room for slot 2")
"""

WAITS_AND_FAILS_IN_SLOT_2 = """
        import asyncio, os, setproctitle
        if setproctitle.getproctitle().endswith("/2"):
            while not os.path.exists("go on"):
                await asyncio.sleep(0.02)
            raise RuntimeError("no room for slot 2")
"""


@pytest.fixture
def app(service_tmpdir: Path) -> Path:
    (service_tmpdir / "gate").unlink(missing_ok=True)
    path = service_tmpdir / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture
def service_command(app: Path) -> list[str]:
    return [sys.executable, "-B", str(app)]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    del service_config_yaml["components_manager"]["components"]["handler-ping"]
    return service_config_yaml


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def processes(service: Service) -> dict[str, int]:
    """Return the pids of the service's children by title; each title is there once."""
    children = service.children()
    found = {title.removeprefix("mpchat: "): pid for pid, title in children.items()}
    assert len(found) == len(children)
    return found


def by_age(pids: list[int]) -> list[int]:
    """Return processes, the oldest first: after the largest pid the system begins again."""

    def started(pid: int) -> int:
        """Return when, in ticks since the system's start (proc(5))."""
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])

    return sorted(pids, key=lambda pid: (started(pid), pid))


async def versions(client: WebsocketClient) -> set[str]:
    """Return what workers answer, asked so often that all are."""

    async def one() -> str:
        async with client.get("chat") as chat:
            await chat.send("?")
            return str(await chat.recv())

    return set(await asyncio.gather(*(one() for _ in range(40))))


def settled(service: Service, count: int = 6) -> dict[str, int]:
    """Wait until nothing retires any more, and return all that are there, as one look finds them."""
    found: dict[int, str] = {}

    def is_settled() -> bool:
        found.clear()
        found.update(service.children())
        return len(found) == count == len(set(found.values()))

    wait_until(is_settled, f"{count} children")
    return {title.removeprefix("mpchat: "): pid for pid, title in found.items()}


@pytest.mark.shared_service
async def test_new_code_comes_slot_by_slot_and_everything_is_new(
    supervisor: Service, app: Path, control: Control, websocket_client: WebsocketClient
) -> None:
    before = processes(supervisor)
    assert await versions(websocket_client) == {"1"}
    chats = [await websocket_client.get("chat") for _ in range(8)]
    change(app, 'VERSION = "1"', 'VERSION = "2"')
    assert await asyncio.to_thread(control.restart) == {"slot": None}
    assert await versions(websocket_client) == {"2"}
    for chat in chats:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(chat.recv(), 30)
        assert chat.close_code == 1012
    after = await asyncio.to_thread(settled, supervisor)
    assert after.keys() == before.keys()
    assert not {*after.values()} & {*before.values()}
    assert supervisor.stop() == 0


def threads_in_force(control: Control) -> int:
    """Return what the monitor answers, whatever the file says."""
    settings = control.ask("config")["settings"]
    path = ["components_manager", "task_processors", "main-task-processor", "worker_threads"]
    (found,) = [one["value"] for one in settings if one["path"] == path]
    assert isinstance(found, int)
    return found


def test_the_signal_restarts_and_a_changed_static_config_is_used(
    supervisor: Service, service_config_path_temp: Path, control: Control
) -> None:
    generation = control.status()["generation"]
    change(service_config_path_temp, "worker_threads: 4", "worker_threads: 5")
    assert threads_in_force(control) == 4
    supervisor.send_signal(signal.SIGUSR2)
    wait_until(lambda: "\ttext=restarted" in supervisor.stderr(), "restart")
    settled(supervisor, 7)
    assert threads_in_force(control) == 5
    assert [worker["state"] for worker in control.workers()] == ["ready"] * 5
    assert {worker["generation"] for worker in control.workers()} == {generation + 1}
    assert f"generation {generation + 2}" in supervisor.reload()


@pytest.mark.shared_service
def test_one_slot_is_replaced_from_what_is_loaded(
    supervisor: Service, app: Path, control: Control
) -> None:
    before = processes(supervisor)
    change(app, "from mpchat", "broken!")
    assert control.restart(2) == {"slot": 2}
    after = settled(supervisor)
    changed = {title for title in before if before[title] != after[title]}
    assert changed == {"worker main-task-processor/2"}
    with pytest.raises(ControlError, match="there is no worker in slot 4"):
        control.restart(4)


BROKEN_CODE = {
    "does not import": ("from mpchat", "from nowhere", "No module named 'nowhere'", "app.py"),
    "is no Python": ("async def handle", "asinc def handle", "SyntaxError", 'app.py", line 13'),
    "leaves": ('VERSION = "1"', "import os; os._exit(4)", "exit status 4", ""),
    "fails in the list": ("append(Version)", "append(3)", "Traceback", 'app.py", line 19'),
    "does not start": (
        "        pass\n",
        "        1 / 0\n",
        "ZeroDivisionError",
        'app.py", line 11',
    ),
    "does not start in one slot": (
        "        pass\n",
        FAILS_IN_SLOT_2,
        "no room for slot 2",
        "/2 pid",
    ),
}


@pytest.mark.shared_service
@pytest.mark.parametrize("how", BROKEN_CODE)
async def test_broken_code_changes_nothing_and_is_told_with_its_place(
    supervisor: Service, app: Path, control: Control, websocket_client: WebsocketClient, how: str
) -> None:
    before = await asyncio.to_thread(settled, supervisor)
    old, new, reason, place = BROKEN_CODE[how]
    change(app, old, new)
    if how.startswith("does not start"):
        change(app, 'VERSION = "1"', 'VERSION = "2"')
    with pytest.raises(ControlError) as caught:
        await asyncio.to_thread(control.restart)
    assert reason in str(caught.value)
    assert place in str(caught.value)
    assert "nothing has changed: the old workers stay" in str(caught.value)
    assert await versions(websocket_client) == {"1"}
    after = await asyncio.to_thread(settled, supervisor)
    same = {title for title in before if before[title] == after[title]}
    moved = {f"worker main-task-processor/{slot}" for slot in (0, 1)}
    assert before.keys() - same == (moved if how.endswith("one slot") else set())
    app.write_text(APP)
    await asyncio.to_thread(control.restart)
    assert await versions(websocket_client) == {"1"}
    last = await asyncio.to_thread(settled, supervisor)
    assert not {*after.values()} & {*last.values()}


BROKEN_CONFIG = {
    "wrong": ("worker_threads: 4", "worker_threads: many", "expected an integer, got 'many'"),
    "another port": ("port: 0", "port: 1", "the listener's port has changed from 0 to 1: restart"),
    "another control socket": ("control.sock", "other.sock", "control-socket has changed from"),
}


@pytest.mark.shared_service
@pytest.mark.parametrize("how", BROKEN_CONFIG)
def test_a_config_that_cannot_be_used_changes_nothing(
    mpchat: Mpchat, supervisor: Service, control: Control, service_config_path_temp: Path, how: str
) -> None:
    before = settled(supervisor)
    text = service_config_path_temp.read_text()
    old, new, reason = BROKEN_CONFIG[how]
    change(service_config_path_temp, old, new)
    command = ("restart", "--socket", str(control.path))
    result = mpchat(*command)
    assert result.returncode == 1
    assert reason in result.stderr
    if how == "wrong":
        assert re.search(r"static_config\.yaml:\d+:\d+: ", result.stderr)
    assert settled(supervisor) == before
    service_config_path_temp.write_text(text)
    result = mpchat(*command)
    assert (result.returncode, result.stdout, result.stderr) == (0, "restarted\n", "")


@pytest.mark.shared_service
def test_requests_wait_and_the_latest_stands_for_all(supervisor: Service, control: Control) -> None:
    done: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda slot=slot: done.append(control.restart(slot)))
        for slot in (None, None, 1, None, 2, None)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 6
    settled(supervisor)
    assert supervisor.stderr().count("a new template loads") <= 3


GATED = """
        import asyncio, os
        while not os.path.exists("gate"):
            await asyncio.sleep(0.01)
"""


GATED_IMPORT = """
import os, sys, time
print("waits", file=sys.stderr)
while not os.path.exists("gate"):
    time.sleep(0.01)
"""

End = Callable[[], ControlError | None]


@pytest.fixture
def gated(app: Path, supervisor: Service, control: Control) -> End:
    """Begin a restart whose first new worker waits for the file ``gate``; return how to await its end."""
    change(app, "        pass\n", GATED)
    end = begin(control)
    wait_until(lambda: len(supervisor.pids("worker")) == 5, "a new worker")
    return end


@pytest.fixture
def loading(app: Path, supervisor: Service, control: Control) -> End:
    """Begin a restart whose new template waits for the file ``gate``; return how to await its end."""
    app.write_text(GATED_IMPORT + APP)
    end = begin(control)
    # It has no title yet.
    wait_until(lambda: len(supervisor.children()) == 7, "a new template")
    return end


def begin(control: Control) -> End:
    ends: list[ControlError | None] = []

    def run() -> None:
        try:
            control.restart()
            ends.append(None)
        except ControlError as error:
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def end() -> ControlError | None:
        thread.join()
        return ends[0]

    return end


def open_gate(service: Service) -> None:
    (service.stderr_path.parent / "gate").touch()


def newest(service: Service, title: str) -> int:
    return by_age(service.pids(title))[-1]


def test_a_reload_waits_for_the_end_of_a_restart(
    supervisor: Service, gated: End, control: Control
) -> None:
    supervisor.send_signal(signal.SIGHUP)
    supervisor.send_signal(signal.SIGHUP)
    assert control.status()["activity"] == "restart"
    open_gate(supervisor)
    assert gated() is None
    wait_until(lambda: "generation 3 is applied in 4 workers" in supervisor.stderr(), "reload")
    assert "generation 2 is applied" not in supervisor.stderr()
    wait_until(lambda: control.status()["activity"] is None, "rest")


@pytest.mark.shared_service
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_stop_ends_a_restart(
    supervisor: Service, gated: End, number: signal.Signals, control: Control
) -> None:
    children = list(supervisor.children())
    assert supervisor.stop(number) == 0
    error = gated()
    assert error is not None
    assert_nothing_is_left(children, control)


@pytest.mark.shared_service
def test_a_killed_supervisor_leaves_nothing_of_a_restart(
    supervisor: Service, gated: End, control: Control
) -> None:
    children = list(supervisor.children())
    supervisor.process.kill()
    supervisor.process.wait()
    assert gated() is not None
    assert_nothing_is_left(children, control)


def assert_nothing_is_left(children: list[int], control: Control) -> None:
    def left() -> list[int]:
        return [pid for pid in children if os.path.exists(f"/proc/{pid}")]

    wait_until(lambda: not left(), "end of all children")
    assert not control.path.exists()


def new_template(service: Service) -> int:
    """Return the pid of the one that loads: until it has, its title is its command's."""
    found: list[int] = []

    def is_there() -> bool:
        # Between its fork and its exec it still has the supervisor's title.
        found[:] = [
            pid for pid, title in service.children().items() if not title.startswith("mpchat: ")
        ]
        return bool(found)

    wait_until(is_there, "a new template")
    (pid,) = found
    return pid


@pytest.mark.shared_service
def test_the_new_template_may_be_killed_while_it_loads(supervisor: Service, loading: End) -> None:
    os.kill(new_template(supervisor), signal.SIGKILL)
    error = loading()
    assert error is not None
    assert str(error).startswith("the new template: killed by SIGKILL")
    settled(supervisor)


def test_the_old_template_may_be_killed_while_the_new_one_loads(
    supervisor: Service, loading: End
) -> None:
    os.kill(supervisor.pids("template")[0], signal.SIGKILL)
    # Its successor imports the same code, and waits as well.
    wait_until(lambda: "template pid" in supervisor.stderr(), "its end")
    open_gate(supervisor)
    assert loading() is None
    settled(supervisor)


def test_what_a_template_prints_while_it_loads_is_not_lost(
    supervisor: Service, loading: End
) -> None:
    open_gate(supervisor)
    assert loading() is None
    wait_until(lambda: "waits\n" in supervisor.stderr(), "what it has printed")
    settled(supervisor)


@pytest.mark.shared_service
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_service_is_that_of_a_template_that_loads(
    supervisor: Service, loading: End, number: signal.Signals, control: Control
) -> None:
    children = list(supervisor.children())
    supervisor.send_signal(number)
    supervisor.process.wait(30)
    assert loading() is not None
    assert_nothing_is_left(children, control)


@pytest.mark.shared_service
def test_the_new_template_may_be_killed(supervisor: Service, gated: End) -> None:
    os.kill(newest(supervisor, "template"), signal.SIGKILL)
    error = gated()
    assert error is not None
    assert "the new template: killed by SIGKILL" in str(error)
    open_gate(supervisor)
    settled(supervisor)


@pytest.mark.shared_service
def test_the_new_worker_may_be_killed(supervisor: Service, gated: End) -> None:
    os.kill(newest(supervisor, "worker"), signal.SIGKILL)
    error = gated()
    assert error is not None
    assert "killed by SIGKILL" in str(error)
    settled(supervisor)


def test_the_old_template_and_the_monitor_may_be_killed(
    supervisor: Service, gated: End, control: Control
) -> None:
    before = supervisor.pids("template")
    os.kill(by_age(before)[0], signal.SIGKILL)
    wait_until(lambda: len({*supervisor.pids("template"), *before}) == 3, "another old template")
    victim = supervisor.pids("monitor")[0]
    os.kill(victim, signal.SIGKILL)
    assert gated() is not None, "whoever asked it has no answer"
    wait_until(lambda: set(supervisor.pids("monitor")) - {victim}, "another monitor")
    open_gate(supervisor)
    wait_until(lambda: "\ttext=restarted" in supervisor.stderr(), "restart")
    settled(supervisor)
    control.restart()
    settled(supervisor)


def test_an_old_worker_may_be_killed_before_its_slot_has_moved(
    supervisor: Service, gated: End
) -> None:
    for pid in by_age(supervisor.pids("worker"))[:4]:
        os.kill(pid, signal.SIGKILL)
    open_gate(supervisor)
    assert gated() is None
    settled(supervisor)


@pytest.mark.shared_service
async def test_the_control_socket_stays_reachable(supervisor: Service, control: Control) -> None:
    for _ in range(3):
        ends = asyncio.create_task(asyncio.to_thread(control.restart))
        while not ends.done():
            answer = await asyncio.to_thread(control.status)
            assert answer["pid"] == supervisor.pid
        await ends


async def test_a_worker_that_was_stopped_by_hand_during_a_restart(
    supervisor: Service, gated: End
) -> None:
    os.kill(by_age(supervisor.pids("worker"))[0], signal.SIGTERM)
    open_gate(supervisor)
    assert await asyncio.to_thread(gated) is None
    await asyncio.to_thread(settled, supervisor)


@pytest.mark.shared_service
def test_a_signal_storm_with_restarts_ends_well(supervisor: Service, control: Control) -> None:
    for _ in range(100):
        for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR1):
            supervisor.send_signal(number)
    # The last one; whatever waited is part of it.
    control.restart()
    assert "generation" in supervisor.reload()
    settled(supervisor)
    assert {worker["state"] for worker in control.workers()} == {"ready"}


@pytest.mark.covers("ServerOptions.worker-max-lifetime")
def test_workers_are_replaced_for_their_age(serve: Serve, control: Control) -> None:
    with serve({"server.worker-max-lifetime": "1s"}) as service:
        before = set(service.pids("worker"))

        def replaced() -> list[bool]:
            workers = control.workers()
            return [worker["restarts"] > 0 for worker in workers]

        wait_until(lambda: all(replaced()), "replacement of all")
        wait_until(lambda: not before & set(service.pids("worker")), "end of the old ones")
        assert "killed" not in service.stderr()
        # A restart goes on all the same.
        assert control.restart() == {"slot": None}
        assert service.stop() == 0


@pytest.mark.shared_service
def test_a_warning_says_that_a_restart_failed(
    supervisor: Service, app: Path, control: Control
) -> None:
    generation = control.status()["generation"]
    change(app, "from mpchat", "from nowhere")
    before = len(supervisor.notifications)
    with pytest.raises(ControlError):
        control.restart()
    found = supervisor.wait_notified(
        lambda m: "the last restart failed: " in m.get("STATUS", ""), before
    )
    assert "new template" in found["STATUS"]
    app.write_text(APP)
    control.restart()
    supervisor.wait_notified(
        lambda m: m.get("STATUS", "").endswith(f"generation {generation + 1}"),
        len(supervisor.notifications),
    )


async def test_a_scale_during_a_restart_that_fails_stays(
    supervisor: Service, app: Path, control: Control
) -> None:
    change(app, "        pass\n", WAITS_AND_FAILS_IN_SLOT_2)
    restarting = asyncio.create_task(asyncio.to_thread(control.restart))

    def waits() -> bool:
        return any(w["slot"] == 2 and w["state"] == "starting" for w in control.workers())

    await eventually(waits, "new worker of slot 2")
    await asyncio.to_thread(control.scale, 6)
    (supervisor.stderr_path.parent / "go on").touch()
    with pytest.raises(ControlError, match="no room for slot 2"):
        await restarting
    await asyncio.to_thread(settled, supervisor, 8)
    ready = [w for w in control.workers() if w["state"] == "ready"]
    assert len(ready) == 6
