"""``make bench-hosts`` in small: real hosts, a real NATS; and its tables, of samples made up by hand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from bench.hosts import report
from bench.hosts.__main__ import compile_client
from bench.hosts.engines import Engine, host, nats, nats_servers
from bench.hosts.measuring import nats_py_sample, restart_sample, room_samples
from bench.hosts.network import Network, Place
from bench.hosts.rows import Row
from bench.load import Load, LoadFailed
from websockets.asyncio.server import ServerConnection

from tests.kit.serving import serving

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None and "CI" not in os.environ, reason="the client is written in C"
)

HERE = Place((), "127.0.0.1")
NETWORK = Network("loopback", HERE, HERE, HERE)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("client") / "client"
    compile_client(found)
    return found


@pytest.mark.parametrize("row", [Row("closed", 3, 4), Row("offered", 3, 4, rate=200)])
def test_messages_are_counted_at_the_other_host(tmp_path: Path, program: Path, row: Row) -> None:
    with host(NETWORK, tmp_path / "h") as alone, nats(NETWORK, tmp_path / "n") as shared:
        samples = list(room_samples(row, [alone, shared], program, 1, 0.3))
    assert [sample["engine"] for sample in samples] == ["host", "nats, R1"]
    for sample in samples:
        assert 0 < sample["p50_us"] <= sample["p99_us"]
        assert sample["per_second"] <= (row.rate or sample["per_second"])
        assert all(sample["cpu_us"][part] > 0 for part in ("out", "workers", "all"))
    # One publish, and two live messages with one answer, beside what hosts say to each other.
    assert samples[1]["nats_in"] >= 1
    assert samples[1]["nats_out"] >= 3
    assert samples[1]["cpu_us"]["in"] > 0


def test_a_broker_is_killed_with_its_rooms(tmp_path: Path) -> None:
    engine = Engine("nats, R1", nats)
    sample = restart_sample(engine, NETWORK, tmp_path / "n", 20, 0, 0.2)
    assert sample["live_s"] > 0
    # The new broker has asked about the stream, and what each room's last message is.
    assert sample["restart_nats_in"] >= 3
    assert sample["empty_mib"] > 1


def test_nats_py_by_itself(tmp_path: Path) -> None:
    with nats_servers(HERE, tmp_path / "n", 1) as servers:
        found = nats_py_sample(servers.urls[0], 200, 0, 0.3)
    assert 0 < found["per_second"] <= 200
    assert min(found["publish_us"], found["receive_us"], found["ask_us"]) > 0


def _run(program: Path, port: int) -> None:
    address = ["127.0.0.1", str(port)]
    cores = ",".join(map(str, os.sched_getaffinity(0)))
    with Load("a test's room", [str(program), *address, *address], cores) as load:
        load.wait_connected()
        load.run(0.05)


class _Room:
    """Sends what comes to all; the second member is sent message number 3 as ``harm`` says."""

    def __init__(self, harm: list[int]) -> None:
        self._harm = harm
        self._members: list[ServerConnection] = []
        self._all: list[str] = []

    async def serve(self, connection: ServerConnection) -> None:
        self._members.append(connection)
        async for message in connection:
            assert isinstance(message, str)
            self._all.append(message)
            numbers = [len(self._all) - 1]
            for place, member in enumerate(self._members):
                wanted = self._harm if numbers == [3] and place == 0 else numbers
                for number in wanted:
                    await member.send(self._all[number])


def test_the_client_takes_what_is_right(program: Path) -> None:
    with serving(_Room([3]).serve) as port:
        _run(program, port)


@pytest.mark.parametrize("harm", [[2], [3, 3]], ids=["an older one", "twice"])
def test_the_client_ends_with_the_first_mistake(
    program: Path, harm: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(_Room(harm).serve) as port, pytest.raises(LoadFailed):
        _run(program, port)
    assert "the one who listens: message" in capfd.readouterr().err


def _message(engine: str, number: int, cost: float, **parts: float) -> dict[str, Any]:
    return {
        "row": "1 room",
        "engine": engine,
        "round": number,
        "per_second": 1000 * cost,
        "p50_us": 1000 * cost,
        "p99_us": 2000 * cost,
        "client_us": 1.0,
        "nats_in": 1.0,
        "nats_out": 3.0,
        "cpu_us": {"out": cost, "workers": 5.0, "between": 0.0, "all": 9.0, **parts},
    }


def _restart(engine: str, live: float) -> dict[str, Any]:
    return {
        "engine": engine,
        "rooms": 1000,
        "round": 0,
        "live_s": live,
        "room_kib": 7.0,
        "empty_mib": 40.0,
        "rest_us": {"out": 8000.0, "between": 4000.0, "all": 20000.0},
        "rest_nats_in": 7.0,
        "restart_between_ms": 31.0,
        "restart_nats_in": 3000,
    }


def _document() -> report.Document:
    return {
        "date": "2030-01-02",
        "cpu": "Z80",
        "kernel": "99",
        "python": "CPython 3.99",
        "form": "compiled",
        "versions": {"mpchat": "7.8.9"},
        "cores": 2,
        "network": "loopback",
        "rounds": 3,
        "kills": 1,
        "seconds": 1.5,
        "load": 0.4,
        "messages": [
            *(_message("host", number, cost) for number, cost in enumerate((3.0, 1.0, 2.0))),
            _message("nats, R1", 0, 4.0, **{"in": 6.0}),
        ],
        "restarts": [_restart("host", 0.5), _restart("nats, R1", 1.5)],
        "nats_py": [{"rate": 20_000, "publish_us": 20.0, "receive_us": 30.0, "ask_us": 60.0}],
    }


def test_tables_have_the_medians() -> None:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in _tables()]
    assert ["1 room", "host", "2,000", "2.00 / 4.00"] in lines
    assert ["1 room", "host", "2.00", "-", "5.00", "-", "9.00", "-"] in lines
    assert ["1 room", "nats, R1", "4.00", "6.00", "5.00", "-", "9.00", "1.00 / 3.00"] in lines
    assert ["1,000", "nats, R1", "1.50", "3.00", "31.0", "7.00"] in lines
    assert ["1,000", "host", "0.50", "-", "-", "7.00"] in lines
    assert ["to receive", "30.0", "60 %"] in lines


def _tables() -> list[str]:
    return [line for line in report.tables(_document()).splitlines() if line.startswith("|")]


def test_tables_take_the_place_of_those_before() -> None:
    begin, end = report.MARKS
    page = f"before\n\n{begin}old{end}\n\nbehind\n"
    written = report.with_tables(page, _document())
    assert "old" not in written
    assert written == report.with_tables(written, _document())
    assert written.startswith(f"before\n\n{begin}Measured on 2030-01-02")
    assert written.endswith(f"{end}\n\nbehind\n")
    with pytest.raises(ValueError, match="the page lacks"):
        report.with_tables("nothing", _document())
