"""Workers with more than their fair share pass on what they accept."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mpchat.scoreboard.heartbeat import SILENT_SECONDS
from mpchat.testsuite.service import Service, wait_until
from tests.kit.control import Control
from tests.kit.raw import handshake

WORKERS = 4
EACH = 40
Connect = Callable[[int], list[socket.socket]]


@pytest.fixture
def service_config_yaml(
    request: pytest.FixtureRequest, service_config_yaml: Any, service_tmpdir: Path
) -> Any:
    server = service_config_yaml["components_manager"]["components"]["server"]
    if getattr(request, "param", "port") == "unix":
        del server["listener"]["port"]
        server["listener"]["unix-socket"] = str(service_tmpdir / "clients.sock")
    return service_config_yaml


@pytest.fixture
def connect(supervisor: Service, service_tmpdir: Path) -> Iterator[Connect]:
    """Sends the handshakes of so many new clients."""
    with contextlib.ExitStack() as stack:

        def connect(count: int) -> list[socket.socket]:
            return [one() for _ in range(count)]

        def one() -> socket.socket:
            unix = service_tmpdir / "clients.sock"
            if unix.exists():
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(str(unix))
            else:
                sock = socket.create_connection(("localhost", supervisor.port))
            sock.settimeout(30)
            sock.sendall(handshake("/chat"))
            return stack.enter_context(sock)

        yield connect


def slots(control: Control) -> list[int]:
    """Return the connections of each slot, if all have one ready worker."""
    rows = control.workers()
    if [row["state"] for row in rows] != ["ready"] * WORKERS:
        return []
    return [row["connections"] for row in rows]


def all_beat(control: Control) -> bool:
    return all(row["silent_seconds"] < SILENT_SECONDS for row in control.workers())


def wait_counted(control: Control, count: int) -> None:
    """Wait until every slot has counted what it has answered: that is when the turn of its loop ends."""
    wait_until(lambda: sum(slots(control)) == count, f"{count} connections")


def replace_worker(service: Service, control: Control) -> int:
    """Kill the worker of the first slot and return the next one's pid, when it serves."""
    victim = service.pids("worker main-task-processor/0")[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: service.pids("worker main-task-processor/0") not in ([], [victim]), "next")
    wait_until(lambda: slots(control), "ready workers")
    return service.pids("worker main-task-processor/0")[0]


def is_answered(sock: socket.socket) -> bool:
    return sock.recv(1024).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("service_config_yaml", ["port", "unix"], indirect=True)
def test_a_slot_that_has_fewer_is_filled_up(
    supervisor: Service, connect: Connect, control: Control
) -> None:
    assert all(map(is_answered, connect(WORKERS * EACH)))
    replace_worker(supervisor, control)
    found = slots(control)
    assert found[0] == 0
    lost = WORKERS * EACH - sum(found)
    assert all(map(is_answered, connect(lost)))
    wait_counted(control, WORKERS * EACH)
    more = 0
    # On a busy machine a loop may stop beating at any moment, and then nobody passes on to it: who comes
    # later makes up for that.
    while min(slots(control)) < 0.6 * EACH and more < EACH:
        wait_until(lambda: all_beat(control), "workers whose loops beat")
        assert all(map(is_answered, connect(1)))
        more += 1
        wait_counted(control, WORKERS * EACH + more)
    # By the kernel's dealing alone it would have a quarter of its share.
    assert min(slots(control)) >= 0.6 * EACH
    accepted = WORKERS * EACH + lost + more
    wait_until(lambda: control.totals()["accepted"] == accepted, f"{accepted} accepted sockets")
    assert control.totals()["passed_on"] > 0


def test_what_is_passed_on_waits_for_a_worker_without_descriptors(
    supervisor: Service, connect: Connect, control: Control
) -> None:
    assert all(map(is_answered, connect(WORKERS * EACH)))
    worker = replace_worker(supervisor, control)
    limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    used = max(int(entry.name) for entry in Path(f"/proc/{worker}/fd").iterdir())
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 1, limits[1]))
    waiting = connect(EACH)
    wait_until(lambda: "cannot accept" in supervisor.stderr(), "line about it")
    resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)
    assert all(map(is_answered, waiting))
