"""Workers, template and monitor: counted, killed, and replaced."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.service import Service, ServiceFailed, wait_until
from tests.kit.control import Control
from tests.kit.waiting import eventually


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def can_listen(port: int) -> bool:
    """Whether the port is free."""
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("::", port))
            sock.listen()
        except OSError as error:
            assert error.errno == errno.EADDRINUSE
            return False
    return True


def kill_template(supervisor: Service) -> None:
    """Kill the template and wait for the next."""
    victim = supervisor.pids("template")[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: set(supervisor.pids("template")) - {victim}, "a new template")


@pytest.mark.shared_service
def test_ready_line_titles_and_stop(supervisor: Service) -> None:
    expected = (
        f"mpchat 0.1.0 pid {supervisor.pid}: ws://localhost:{supervisor.port}/chat, 4 workers"
    )
    assert supervisor.ready_line == expected
    titles = sorted(supervisor.children().values())
    workers = [f"mpchat: worker main-task-processor/{slot}" for slot in range(4)]
    assert titles == sorted([*workers, "mpchat: template", "mpchat: monitor"])
    children = list(supervisor.children())
    assert supervisor.stop(signal.SIGINT) == 0
    assert not [pid for pid in children if alive(pid)]


@pytest.mark.shared_service
def test_workers_need_not_grow_their_table_of_descriptors(supervisor: Service) -> None:
    # While it grows a process with threads stands still.
    room = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 16 * 1024)
    for pid in supervisor.pids("worker"):
        status = Path(f"/proc/{pid}/status").read_text()
        assert int(status.split("FDSize:")[1].split()[0]) >= room


@pytest.mark.shared_service
@pytest.mark.parametrize("slots", [1, 3])
def test_a_killed_worker_is_replaced(supervisor: Service, slots: int) -> None:
    before = supervisor.pids("worker")
    for pid in before[:slots]:
        os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: len(set(supervisor.pids("worker")) - set(before)) == slots, "replacement worker"
    )
    assert len(supervisor.pids("worker")) == 4
    assert set(before[slots:]) <= set(supervisor.pids("worker"))


@pytest.mark.shared_service
def test_a_worker_that_is_asked_to_end_is_replaced(supervisor: Service) -> None:
    victim = supervisor.pids("worker")[0]
    os.kill(victim, signal.SIGTERM)
    wait_until(lambda: victim not in supervisor.children(), "end of the worker")
    wait_until(lambda: len(supervisor.pids("worker")) == 4, "four workers")


@pytest.mark.shared_service
async def test_the_template_may_die(
    supervisor: Service,
    websocket_client: WebsocketClient,
    service_config_path_temp: Path,
    control: Control,
) -> None:
    async with websocket_client.get("chat") as chat:
        await chat.send("before")
        assert await chat.recv() == "before"
        # The static config stays as it was read until a restart, whatever the file says now.
        service_config_path_temp.write_text("broken: [")
        workers = set(supervisor.pids("worker"))
        for _ in range(2):
            await asyncio.to_thread(kill_template, supervisor)
        assert set(supervisor.pids("worker")) == workers
        victim = next(row["pid"] for row in control.workers() if not row["connections"])
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: len(set(supervisor.pids("worker")) - workers) == 1, "a new worker")
        assert "failed" not in await asyncio.to_thread(supervisor.reload)
        await chat.send("after")
        assert await chat.recv() == "after"


@pytest.mark.shared_service
def test_the_monitor_may_die(supervisor: Service) -> None:
    victim = supervisor.pids("monitor")[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: set(supervisor.pids("monitor")) - {victim}, "a new monitor")


@pytest.mark.shared_service
@pytest.mark.parametrize("stuck", [False, True])
def test_nothing_outlives_a_killed_supervisor(supervisor: Service, stuck: bool) -> None:
    children = list(supervisor.children())
    if stuck:
        os.kill(supervisor.pids("worker")[0], signal.SIGSTOP)
    supervisor.process.kill()
    supervisor.process.wait()
    wait_until(lambda: not [pid for pid in children if alive(pid)], "end of all", deadline=10)
    # Another test's client may have been given the port for a moment.
    wait_until(lambda: can_listen(supervisor.port), "free port", deadline=10)


@pytest.mark.shared_service
def test_a_second_instance_is_refused(
    supervisor: Service, service_command: list[str], service_config_path_temp: Path, tmp_path: Path
) -> None:
    text = service_config_path_temp.read_text().replace("port: 0", f"port: {supervisor.port}")
    again = tmp_path / "again.yaml"
    again.write_text(text)
    second = subprocess.run(
        [*service_command, "-c", str(again)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 69
    assert f"cannot listen on :: port {supervisor.port}" in second.stderr
    assert supervisor.process.poll() is None


@pytest.mark.shared_service
def test_a_storm_of_signals_loses_none(supervisor: Service) -> None:
    quiet = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
    for _ in range(200):
        for number in quiet:
            supervisor.send_signal(number)
    assert "generation" in supervisor.reload()
    # Those that a restart has replaced may still drain.
    wait_until(lambda: len(supervisor.pids("worker")) == 4, "four workers")
    assert supervisor.stop() == 0


@pytest.mark.shared_service
def test_signals_during_the_end_do_not_change_it(supervisor: Service) -> None:
    supervisor.send_signal(signal.SIGTERM)
    while supervisor.process.poll() is None:
        supervisor.send_signal(signal.SIGTERM)
    assert supervisor.process.returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors_stay_unused(
    service_command: list[str], service_config_path_temp: Path, tmp_path: Path, closed: str
) -> None:
    command = [*service_command, "-c", str(service_config_path_temp)]
    service = Service(["sh", "-c", f'exec "$@" {closed}', "sh", *command], tmp_path)
    try:
        service.wait_notified(lambda message: message.get("READY") == "1")
        assert len(service.pids("worker")) == 4
        assert "generation 2" in service.reload()
        assert service.stop() == 0
    finally:
        service.close()


GRABBING_MAIN = """
import os

# As libffi does with a file of its own: the first free descriptor, kept, and open after an exec.
if not os.path.exists("grabbed"):
    os.set_inheritable(os.open("grabbed", os.O_RDWR | os.O_CREAT), {inheritable})

from mpchat import daemon_main, default_component_list

daemon_main(default_component_list())
"""


@pytest.mark.parametrize(
    ("closed", "inheritable"), [("<&-", True), (">&-", True), ("2>&-", True), ("2>&-", False)]
)
def test_a_file_in_the_place_of_a_closed_descriptor_stays_unused(
    service_config_path_temp: Path, tmp_path: Path, closed: str, inheritable: bool
) -> None:
    (tmp_path / "main.py").write_text(GRABBING_MAIN.format(inheritable=inheritable))
    command = [sys.executable, "main.py", "-c", str(service_config_path_temp)]
    service = Service(["sh", "-c", f'exec "$@" {closed}', "sh", *command], tmp_path)
    try:
        service.wait_notified(lambda message: message.get("READY") == "1")
        standard = {os.readlink(f"/proc/{service.pid}/fd/{number}") for number in range(3)}
        assert "/dev/null" in standard
        assert not any("grabbed" in path for path in standard)
        assert "generation 2" in service.reload()
        assert service.stop() == 0
    finally:
        service.close()
    assert (tmp_path / "grabbed").read_bytes() == b""


@pytest.mark.parametrize(("code", "told"), [("import os; os._exit(4)", "exit status 4")])
def test_a_template_that_leaves_is_told_as_it_is(
    service_command: list[str], service_config_path_temp: Path, tmp_path: Path, code: str, told: str
) -> None:
    (tmp_path / "leaving.py").write_text(code)
    command = [*service_command, "--app", "leaving:x", "-c", str(service_config_path_temp)]
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 70
    assert result.stderr == f"mpchat: the service could not be loaded: {told}\n"


def test_a_folder_that_is_gone_is_told(service_command: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    command = ["sh", "-c", 'rmdir ../gone; exec "$@"', "sh", *service_command, "-c", "x.yaml"]
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 64
    assert result.stderr.startswith("mpchat: the current folder no longer exists")


FAILING_APP = """
from mpchat import WebsocketHandlerBase, minimal_server_component_list


class Failing(WebsocketHandlerBase):
    name = "websocket-handler"

    async def start(self):
        raise RuntimeError("the database is not there")

    async def handle(self, chat, context):
        pass


def components():
    return minimal_server_component_list().append(Failing)
"""


def test_workers_that_cannot_start_end_the_service(
    service_command: list[str], service_config_path_temp: Path, tmp_path: Path
) -> None:
    (tmp_path / "failing.py").write_text(FAILING_APP)
    text = service_config_path_temp.read_text()
    (tmp_path / "failing.yaml").write_text(text)
    service = Service(
        [*service_command, "--app", "failing:components", "-c", "failing.yaml"], tmp_path
    )
    try:
        with pytest.raises(ServiceFailed) as caught:
            service.wait_ready()
    finally:
        service.close()
    assert caught.value.exit_code == 70
    assert "the database is not there" in caught.value.stderr
    # One traceback, however many workers have tried, and none of our own lines in it.
    assert caught.value.stderr.count("Traceback") == 1
    assert "mpchat/" not in caught.value.stderr
    last = caught.value.stderr.splitlines()[-1]
    assert last == "component websocket-handler failed to start: the database is not there"


ENDING_TOGETHER = """
import asyncio
import os
from pathlib import Path

from mpchat import WebsocketHandlerBase, minimal_server_component_list

WAITS = {0: 4, 1: 3}


class Failing(WebsocketHandlerBase):
    name = "websocket-handler"

    def __init__(self, options, components):
        super().__init__(options, components)
        self.slot = components.slot

    async def start(self):
        tries = len([*Path().glob(f"try {self.slot} *")]) + 1
        Path(f"try {self.slot} {tries}").write_text(str(os.getpid()))
        if (self.slot, tries) == (0, 3):
            await there("try 1 3")
        if tries == WAITS[self.slot]:
            await there("go")
        raise RuntimeError("no luck")

    async def handle(self, chat, context):
        pass


async def there(name):
    while not os.path.exists(name):
        await asyncio.sleep(0.02)


def components():
    return minimal_server_component_list().append(Failing)
"""


def test_the_reason_is_the_last_line_though_others_end_with_the_last_one(
    service_command: list[str], service_config_yaml: Any, tmp_path: Path
) -> None:
    (tmp_path / "failing.py").write_text(ENDING_TOGETHER)
    pools = service_config_yaml["components_manager"]["task_processors"]
    pools["main-task-processor"]["worker_threads"] = 2
    (tmp_path / "failing.yaml").write_text(yaml.safe_dump(service_config_yaml))
    last = [tmp_path / "try 1 3", tmp_path / "try 0 4"]
    service = Service(
        [*service_command, "--app", "failing:components", "-c", "failing.yaml"], tmp_path
    )
    try:
        # The third try of slot 1 decides; slot 0 has had its three, and is at a fourth.
        wait_until(lambda: all(path.exists() and path.read_text() for path in last), "last tries")
        pidfds = [os.pidfd_open(int(path.read_text())) for path in last]
        service.freeze(service.pid)
        (tmp_path / "go").touch()
        for pidfd in pidfds:
            # Unlike the state, it says that all threads have ended, so that the supervisor is told.
            assert select.select([pidfd], [], [], 30)[0]
            os.close(pidfd)
        service.thaw(service.pid)
        assert service.process.wait(30) == 70
    finally:
        service.close()
    assert service.stderr().splitlines()[-1].endswith("failed to start: no luck")


@pytest.mark.shared_service
async def test_stop_closes_with_1001_and_a_second_signal_hurries(
    supervisor: Service, websocket_client: WebsocketClient, service_client: ServiceClient
) -> None:
    async with websocket_client.get("chat") as first, websocket_client.get("chat") as second:
        await first.send("a")
        assert await first.recv() == "a"
        supervisor.send_signal(signal.SIGTERM)
        await first.wait_closed()
        await second.wait_closed()
        assert (first.close_code, second.close_code) == (1001, 1001)
    assert supervisor.stop() == 0
