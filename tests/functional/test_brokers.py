"""The broker as a process: only where there are rooms, killed, stuck, replaced, connected to each worker.

The broker's body is that of tests/kit/stub_rooms.py, which tells what it gets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.ipc.control import ControlError
from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service, ServiceFailed, wait_until
from tests.functional.conftest import Serve
from tests.functional.test_processes import alive
from tests.kit.control import Control
from tests.kit.verbs import Mpchat
from tests.kit.waiting import eventually

STUB = Path(__file__).parents[1] / "kit" / "stub_rooms.py"
MIB = 1024 * 1024


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "app.py").write_text(STUB.read_text())
    return [*service_command, "--app", "app:components"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    del components["handler-ping"]
    components["rooms"] = {"history-memory": 65536}
    pools = service_config_yaml["components_manager"]["task_processors"]
    pools["main-task-processor"]["worker_threads"] = 2
    return service_config_yaml


class Events:
    """What the stub has written, in the order in which it was."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self, what: str) -> list[dict[str, Any]]:
        path = self._folder / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for line in lines if (event := json.loads(line))["what"] == what]

    def brokers(self) -> list[int]:
        """Return the numbers of the brokers that have begun."""
        return [event["number"] for event in self.all("broker")]

    def heard(self, broker: int) -> set[int]:
        """Return the workers that have heard this broker."""
        return {event["incarnation"] for event in self.all("heard") if event["said"][0] == broker}

    def switch(self, way: str) -> Path:
        """Have brokers misbehave until the file is removed."""
        path = self._folder / way
        path.touch()
        return path


@pytest.fixture
def events(service_tmpdir: Path) -> Events:
    return Events(service_tmpdir)


def broker_pid(service: Service) -> int:
    (pid,) = service.pids("broker")
    return pid


def kill_and_wait(service: Service, title: str) -> int:
    """Kill a process and return the pid of the next."""
    (victim,) = service.pids(title)
    os.kill(victim, signal.SIGKILL)
    (pid,) = wait_until(lambda: set(service.pids(title)) - {victim}, f"a new {title}")
    return pid


def open_files(pid: int) -> set[str]:
    """Return what a process has open."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(link))
    return found


def wait_heard(events: Events, broker: int, workers: set[int]) -> None:
    wait_until(lambda: events.heard(broker) == workers, f"broker {broker} heard by {workers}")


def test_each_worker_is_connected_before_the_service_is_up(
    supervisor: Service, events: Events, control: Control, mpchat: Mpchat, service_tmpdir: Path
) -> None:
    titles = sorted(supervisor.children().values())
    workers = [f"mpchat: worker main-task-processor/{slot}" for slot in range(2)]
    assert titles == sorted([*workers, "mpchat: template", "mpchat: monitor", "mpchat: broker"])
    wait_heard(events, 1, {1, 2})
    (begun,) = events.all("broker")
    assert (begun["size"], begun["first"]) == (65536, "\0" * 8)
    pairs = events.all("rooms pair")
    assert [one["slot"] for one in pairs] == [0, 1]
    broker = control.status()["broker"]
    assert (broker["state"], broker["pid"]) == ("ready", broker_pid(supervisor))
    assert (broker["rooms"], broker["restarts"]) == (1, 0)
    shown = mpchat("status", "--socket", str(control.path), cwd=service_tmpdir).stdout
    assert f"broker pid {broker['pid']}: up" in shown
    row = {"room": "a", "members": 2, "messages_per_second": 0.5}
    assert control.ask("rooms") == {"rooms": [row]}
    command = ("rooms", "--by", "messages", "--socket", str(control.path))
    shown = mpchat(*command, cwd=service_tmpdir).stdout
    assert shown == "ROOM  MEMBERS  MSG/s\na           2    0.5\n"
    for name, bad in (("by", "name"), ("by", []), ("limit", 0), ("limit", "3"), ("limit", True)):
        with pytest.raises(ControlError):
            control.ask("rooms", None, **{name: bad})
    assert supervisor.stop() == 0


def test_without_rooms_there_is_no_broker(serve: Serve, control: Control) -> None:
    with serve({"rooms": None}) as service:
        assert service.pids("broker") == []
        assert control.status()["broker"] is None
        with pytest.raises(ControlError, match="this service has no rooms"):
            control.ask("rooms")


def test_a_killed_broker_is_replaced_and_all_pairs_are_new(
    supervisor: Service, events: Events, control: Control
) -> None:
    wait_heard(events, 1, {1, 2})
    kill_and_wait(supervisor, "broker")
    wait_heard(events, 2, {1, 2})
    # The history is the same file, and the next broker found what the last one had written.
    assert [event["first"] for event in events.all("broker")] == ["\0" * 8, "00000001"]
    pairs = [event["pair"] for event in events.all("broker pair")]
    assert len(set(pairs)) == len(pairs) == 4
    # The supervisor kept no end: the end of the broker was the end of its pairs.
    assert {event["pair"] for event in events.all("end of file")} <= set(pairs[:2])
    assert control.status()["broker"]["restarts"] == 1
    assert "killed by SIGKILL" in supervisor.stderr()


def test_the_template_and_then_the_broker_may_die(supervisor: Service, events: Events) -> None:
    kill_and_wait(supervisor, "template")
    kill_and_wait(supervisor, "broker")
    wait_heard(events, 2, {1, 2})
    assert events.all("broker")[-1]["first"] == "00000001"


def test_a_worker_that_ends_is_told_to_the_broker_though_a_child_holds_its_pair(
    supervisor: Service, events: Events
) -> None:
    wait_heard(events, 1, {1, 2})
    victim = supervisor.pids("worker")[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: events.heard(1) == {1, 2, 3}, "the next worker")
    wait_until(lambda: events.all("worker gone"), "the broker's notice")
    (gone,) = events.all("worker gone")
    assert gone["incarnation"] in {1, 2}


async def test_a_child_of_a_handler_keeps_no_pair(
    supervisor: Service, events: Events, websocket_client: WebsocketClient
) -> None:
    await asyncio.to_thread(wait_heard, events, 1, {1, 2})
    async with websocket_client.get("chat") as chat:
        await chat.send("fork")
        worker, child = json.loads(await chat.recv())
        pairs = {f"socket:[{one['socket']}]" for one in events.all("broker pair")}
        assert pairs & open_files(worker)
        await eventually(lambda: not pairs & open_files(child), "a child without a pair")
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("how", ["stopped", "in its loop"])
def test_a_stuck_broker_is_ended_and_replaced(serve: Serve, events: Events, how: str) -> None:
    with serve({"server.worker-hang-timeout": "2s"}) as service:
        wait_heard(events, 1, {1, 2})
        victim = broker_pid(service)
        if how == "stopped":
            os.kill(victim, signal.SIGSTOP)
        else:
            hangs = events.switch("hangs")
            wait_until(lambda: "the broker pid" in service.stderr(), "a stuck broker")
            hangs.unlink()

        def next_is_heard() -> bool:
            # Not always the second: that one may have begun before the file was gone.
            last = events.brokers()[-1]
            return last > 1 and len(events.heard(last)) == 2

        wait_until(next_is_heard, "two workers that hear the next broker")
        assert not alive(victim)
        log = service.stderr()
        assert f"the broker pid {victim} is stuck: its event loop has not turned for" in log
        if how != "stopped":
            assert "in beat" in log


def test_a_broker_that_fails_is_tried_again_and_the_service_is_up_without_it(
    serve: Serve, events: Events, control: Control, mpchat: Mpchat, service_tmpdir: Path
) -> None:
    leaves = events.switch("leaves")
    with serve({}) as service:
        wait_until(lambda: service.stderr().count("this broker leaves") >= 1, "its traceback")
        assert control.states() == ["ready"] * 2
        wait_until(lambda: control.status()["broker"]["restarts"] >= 2, "further brokers")
        wait_until(lambda: control.status()["broker"]["state"] == "down", "a pause")
        with pytest.raises(ControlError, match="no broker"):
            control.ask("rooms")
        shown = mpchat("status", "--socket", str(control.path), cwd=service_tmpdir).stdout
        assert "no broker: it is being replaced" in shown
        leaves.unlink()
        wait_until(lambda: len(events.all("heard")) == 2, "two workers that hear a broker")
        assert service.stop() == 0


def test_a_pair_that_broke_is_replaced(serve: Serve, events: Events) -> None:
    events.switch("loses")
    with serve({}) as service:
        wait_until(lambda: len(events.all("broker pair")) == 3, "a third pair")
        wait_heard(events, 1, {1, 2})
        assert "has lost a pair" in service.stderr()


def test_a_restart_replaces_the_broker_before_the_slots(
    supervisor: Service, events: Events, control: Control
) -> None:
    wait_heard(events, 1, {1, 2})
    first = broker_pid(supervisor)
    control.restart()
    assert not alive(first)
    wait_heard(events, 2, {1, 2, 3, 4})
    # The old workers, too, met the new broker.
    assert [one["incarnation"] for one in events.all("rooms pair")] == [1, 2, 1, 2, 3, 4]
    assert [event["first"] for event in events.all("broker")] == ["\0" * 8, "00000001"]
    assert control.status()["broker"]["restarts"] == 1


def test_a_broker_that_does_not_stop_is_killed_for_the_restart(
    supervisor: Service, events: Events, control: Control
) -> None:
    events.switch("ignores-stop")
    control.restart()
    assert events.brokers() == [1, 2]
    assert "it did not end in time" in supervisor.stderr()


@pytest.mark.parametrize(("way", "said"), [("fails", "no history today"), ("leaves", "leaves")])
def test_a_restart_whose_broker_does_not_start_goes_back(
    supervisor: Service, events: Events, control: Control, way: str, said: str
) -> None:
    wait_heard(events, 1, {1, 2})
    workers = control.ready()
    switch = events.switch(way)
    with pytest.raises(ControlError, match=f"(?s)the new broker: .*{said}"):
        control.restart()
    switch.unlink()
    wait_until(lambda: len(events.brokers()) == 2, "a broker of the old code")
    wait_heard(events, events.brokers()[-1], {1, 2})
    assert control.ready() == workers
    assert events.all("broker")[-1]["first"] == "00000001"


def test_a_restart_that_fails_later_brings_the_old_code_back_for_the_broker(
    supervisor: Service, events: Events, control: Control, service_tmpdir: Path
) -> None:
    app = service_tmpdir / "app.py"
    text = app.read_text()
    app.write_text(text.replace("super().__init__(options, components)", "1 / 0"))
    with pytest.raises(ControlError, match="ZeroDivisionError"):
        control.restart()
    wait_until(lambda: len(events.brokers()) == 3, "a broker of the old code")
    wait_heard(events, 3, {1, 2})
    wait_until(
        lambda: control.ready() == set(supervisor.pids("worker")), "only workers of the old code"
    )


def change_history(path: Path, size: int | None) -> None:
    config = yaml.safe_load(path.read_text())
    components = config["components_manager"]["components"]
    if size is None:
        del components["rooms"]
    else:
        components["rooms"] = {"history-memory": size}
    path.write_text(yaml.safe_dump(config))


def test_another_size_begins_the_history_anew(
    supervisor: Service, events: Events, control: Control, service_config_path_temp: Path
) -> None:
    change_history(service_config_path_temp, 131072)
    control.restart()
    assert events.all("broker")[-1]["size"] == 131072
    assert events.all("broker")[-1]["first"] == "\0" * 8
    assert "the rooms' history begins anew" in supervisor.stderr()
    change_history(service_config_path_temp, 0)
    control.restart()
    assert events.all("broker")[-1]["size"] == 0
    assert not [name for name in open_files(supervisor.pid) if "mpchat-history" in name]


def test_a_restart_may_bring_rooms_and_take_them_away(
    serve: Serve, events: Events, control: Control, service_tmpdir: Path
) -> None:
    with serve({}) as service:
        path = service_tmpdir / "changed.yaml"
        change_history(path, None)
        control.restart()
        wait_until(lambda: control.status()["broker"] is None, "the broker's end")
        assert service.pids("broker") == []
        change_history(path, 65536)
        control.restart()
        wait_heard(events, 2, {5, 6})


def test_a_restart_for_which_there_is_no_memory_changes_nothing(
    supervisor: Service, events: Events, control: Control, service_config_path_temp: Path
) -> None:
    change_history(service_config_path_temp, 2**50)
    pid = broker_pid(supervisor)
    with pytest.raises(
        ControlError, match=r"needs 1073741824\.0 MiB \(history-memory\), and .* MiB left"
    ):
        control.restart()
    assert broker_pid(supervisor) == pid


def test_a_history_that_does_not_fit_is_an_error_at_the_start(serve: Serve) -> None:
    with pytest.raises(ServiceFailed) as failed, serve({"rooms.history-memory": 2**50}):
        pass
    assert failed.value.exit_code == 71
    assert "the rooms' history needs 1073741824.0 MiB (history-memory), and " in failed.value.stderr
    assert "set history-memory below that" in failed.value.stderr


def test_scaling_connects_new_workers(
    supervisor: Service, events: Events, control: Control
) -> None:
    control.scale(4)
    wait_heard(events, 1, {1, 2, 3, 4})
    control.scale(1)
    wait_until(lambda: len(events.all("worker gone")) == 3, "three notices")
    assert {one["incarnation"] for one in events.all("worker gone")} == {2, 3, 4}


def test_the_broker_ends_with_a_killed_supervisor(supervisor: Service) -> None:
    pid = broker_pid(supervisor)
    supervisor.process.kill()
    supervisor.process.wait()
    wait_until(lambda: not alive(pid), "the broker's end", deadline=10)


def test_the_broker_outlives_the_workers_of_a_stop(supervisor: Service, events: Events) -> None:
    wait_heard(events, 1, {1, 2})
    assert supervisor.stop() == 0
    assert {one["incarnation"] for one in events.all("worker gone")} == {1, 2}


def test_a_broker_that_does_not_stop_is_killed_at_the_end(
    supervisor: Service, events: Events
) -> None:
    wait_heard(events, 1, {1, 2})
    events.switch("ignores-stop")
    pid = broker_pid(supervisor)
    assert supervisor.stop() == 0
    assert not alive(pid)
