"""The rows of rooms in small: a real service, a bare loop, and what the load client finds."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from bench.load import compile_client
from bench.measuring import Client
from bench.rooms import beside_samples, joined_sample, room_samples
from bench.rows import Row
from bench.running import Place, Running, running
from bench.servers import BASE, ECHO, OURS, SERVERS, Server, Setting

WEBSOCKETS = next(server for server in SERVERS if server.name == "websockets")
CORE = min(os.sched_getaffinity(0))
PLACE = Place(sys.executable, ",".join(map(str, os.sched_getaffinity(0))))

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None and "CI" not in os.environ, reason="the client is written in C"
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    program = tmp_path_factory.mktemp("client") / "client"
    compile_client(program)
    return Client(str(program), CORE)


@contextmanager
def up(folder: Path, row: Row, *servers: Server) -> Iterator[list[Running]]:
    with ExitStack() as stack:
        found = []
        for server in servers:
            own = folder / server.name
            own.mkdir()
            how = running(server, own, PLACE, setting=row.setting, workers=row.workers)
            found.append(stack.enter_context(how))
        yield found


def room(kind: str, members: int, setting: Setting = "rooms") -> Row:
    return Row("a row", members, size=64, text=True, kind=kind, setting=setting)  # type: ignore[arg-type]


def test_a_room_in_one_worker(tmp_path: Path, client: Client) -> None:
    row = room("room", 5)
    with up(tmp_path, row, BASE, OURS, WEBSOCKETS) as targets:
        samples = list(room_samples(row, targets, client, 2, 0.05))
    names = [BASE.name, OURS.name, WEBSOCKETS.name]
    assert [(sample.server, sample.round) for sample in samples] == [
        (name, number) for number in (0, 1) for name in names
    ]
    for sample in samples:
        assert sample.value > 0
        assert 0 < sample.p50_us <= sample.p99_us


def test_the_worker_of_the_members_alone(tmp_path: Path, client: Client) -> None:
    row = room("delivery", 3)
    with up(tmp_path, row, BASE, OURS) as targets:
        samples = []
        for sample in room_samples(row, targets, client, 1, 0.05):
            samples.append(sample)
            if sample.server == OURS.name:
                assert sorted(targets[1].clients().values()) == [1, 3]
    bare, ours = samples
    assert bare.value > 0
    assert ours.value > 0


def test_two_members_in_two_workers_beside_an_echo(tmp_path: Path, client: Client) -> None:
    row = room("spread", 2, "spread")
    with up(tmp_path, row, BASE, OURS, ECHO) as targets:
        samples = []
        for sample in room_samples(row, targets, client, 1, 0.05):
            samples.append(sample)
            if sample.server == OURS.name:
                assert sorted(targets[1].clients().values()) == [1, 1]
    assert [sample.server for sample in samples] == [BASE.name, OURS.name, ECHO.name]
    assert all(sample.value > 0 for sample in samples)


def test_echoes_beside_a_room(tmp_path: Path, client: Client) -> None:
    row = room("beside", 20)
    with up(tmp_path, row, BASE, OURS) as targets:
        samples = list(beside_samples(row, targets, client, 1, seconds=0.1))
    assert [sample.server for sample in samples] == [BASE.name, OURS.name]
    assert all(0 < sample.p50_us <= sample.p99_us == sample.value for sample in samples)


@pytest.mark.parametrize("where", ["one", "each"])
def test_the_memory_of_memberships(tmp_path: Path, client: Client, where: str) -> None:
    row = Row("a row", 150, kind="joined", setting="joining", path=f"/joining/{where}")
    with up(tmp_path, row, OURS) as (target,):
        sample = joined_sample(row, target, client, 0, few=50)
    assert sample.value < 100 * 1024
