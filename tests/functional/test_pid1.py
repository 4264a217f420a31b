"""As PID 1 of a container: strangers' children, signals, and none of what only a login provides.

The container is made of namespaces, as an engine makes one: processes of its own, a read-only file system
but for a runtime folder, a user without a name or rights, an environment of three variables, no terminal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service, wait_until

NAMESPACES = "unshare --user --map-root-user --mount --pid --mount-proc --fork --kill-child"
SCRIPT = """
runtime=$1; shift
mount -t tmpfs tmpfs "$runtime"
mount -o remount,bind,ro /
exec env -i PATH="$PATH" NOTIFY_SOCKET="$NOTIFY_SOCKET" RUNTIME_DIRECTORY="$runtime" \
    unshare --user --map-user=10001 --map-group=10001 "$@"
"""


class Container:
    """The service in its namespaces; ``init`` is its PID 1, as numbered outside."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.runtime = folder / "run"
        self.runtime.mkdir()
        shell = ["sh", "-euc", SCRIPT, "sh", str(self.runtime)]
        self.service = Service([*NAMESPACES.split(), *shell, *command], folder)
        self.init = wait_until(lambda: next(iter(self.service.children()), 0), "PID 1")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as `docker exec` does."""
        # The user namespace is that of whoever made the others, so it opens them.
        spaces = (
            f"--user=/proc/{self.service.pid}/ns/user",
            f"--mount=/proc/{self.init}/ns/mnt",
            f"--pid=/proc/{self.init}/ns/pid",
        )
        return subprocess.run(
            ["nsenter", "--preserve-credentials", *spaces, "--", *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def children(self) -> dict[int, str]:
        """Return the children of PID 1, as numbered outside, with their command lines."""
        found = {}
        for child in Path(f"/proc/{self.init}/task/{self.init}/children").read_text().split():
            try:
                line = Path(f"/proc/{child}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(child)] = line.replace(b"\0", b" ").decode().strip()
        return found

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.service.process.poll() is None:
            os.kill(self.init, signal.SIGKILL)
        self.service.close()


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    # The control socket is where it belongs in a container: in the runtime folder.
    del service_config_yaml["components_manager"]["components"]["server"]["control-socket"]
    return service_config_yaml


@pytest.fixture
def container(service_start_command: list[str], service_tmpdir: Path) -> Iterator[Container]:
    container = Container(service_start_command, service_tmpdir)
    try:
        container.service.wait_ready()
        yield container
    finally:
        container.close()


def test_it_needs_no_terminal_no_home_and_no_rights(container: Container) -> None:
    proc = Path(f"/proc/{container.init}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
    assert status["NSpid"].split()[-1] == "1"
    assert int(status["CapEff"], 16) == 0
    variables = (proc / "environ").read_bytes().split(b"\0")[:-1]
    names = {variable.partition(b"=")[0] for variable in variables}
    # Python itself adds the last where there is no locale.
    assert names <= {b"PATH", b"NOTIFY_SOCKET", b"RUNTIME_DIRECTORY", b"LC_CTYPE"}
    terminal = (proc / "stat").read_text().rpartition(")")[2].split()[4]
    assert terminal == "0"
    assert container.service.ready_line.startswith("mpchat 0.1.0 pid 1: ")


def test_the_health_check_asks_the_control_socket(container: Container) -> None:
    command = [sys.executable, "-m", "mpchat"]
    path = str(container.runtime / "control.sock")
    healthy = container.run(*command, "status", "--socket", path)
    assert (healthy.returncode, healthy.stderr) == (0, "")
    assert "mpchat 0.1.0 pid 1: ws://localhost" in healthy.stdout
    reloaded = container.run(*command, "reload", "--socket", path)
    assert reloaded.stdout == "dynamic config generation 2 is applied in every worker\n"


def test_orphans_of_strangers_are_reaped(container: Container) -> None:
    # Of the service; a worker is ready a moment before whoever has forked it leaves it to PID 1.
    wait_until(lambda: len(container.children()) == 6, "six children")
    ours = set(container.children())
    # The shell that starts them ends at once: whoever it leaves behind is PID 1's.
    started = container.run("sh", "-c", "for i in 1 2 3; do sleep 1000 >/dev/null 2>&1 & done")
    assert started.returncode == 0

    def orphans() -> list[int]:
        return [pid for pid, line in container.children().items() if line == "sleep 1000"]

    found = wait_until(lambda: orphans() if len(orphans()) == 3 else [], "three orphans")
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    # A zombie would still be listed.
    wait_until(lambda: set(container.children()) == ours, "end of the orphans")
    container.run("sh", "-c", "for i in $(seq 200); do true & done")
    wait_until(lambda: set(container.children()) == ours, "end of many orphans")


@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
@pytest.mark.parametrize("side", ["inside", "outside"])
async def test_signals_stop_pid_1(container: Container, name: str, side: str) -> None:
    async with WebsocketClient(container.service.port).get("chat") as chat:
        await chat.send("hello")
        assert await chat.recv() == "hello"
        if side == "inside":
            assert container.run("sh", "-c", f"kill -s {name} 1").returncode == 0
        else:
            os.kill(container.init, signal.Signals[f"SIG{name}"])
        assert await asyncio.to_thread(container.service.process.wait, 30) == 0
        await chat.wait_closed()
        assert chat.close_code == 1001


async def test_hangup_reloads_pid_1(container: Container) -> None:
    async with WebsocketClient(container.service.port).get("chat") as chat:
        assert container.run("sh", "-c", "kill -s HUP 1").returncode == 0
        await asyncio.to_thread(
            container.service.wait_notified,
            lambda message: message.get("STATUS", "").endswith("dynamic config generation 2"),
        )
        await chat.send("hello")
        assert await chat.recv() == "hello"
