"""The parts of ``make bench-idle``: what is planned, read and printed, and what its client does."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from bench.idle import readings, report
from bench.idle.crowd import Count, Crowd, Holder, compile_client
from bench.idle.plan import SLOTS, fit, plan
from bench.idle.service import drain_seconds
from bench.load import LoadFailed
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.server import ServerProtocol

DOCS = Path(__file__).parents[3] / "docs"
files_of_a_process = st.integers(min_value=1_000, max_value=1_000_000)


@given(st.integers(min_value=1, max_value=2_000_000), files_of_a_process)
def test_a_plan_has_room_for_its_connections(most: int, files: int) -> None:
    found = plan(most, files)
    assert found.connections <= fit(files, found.workers)
    assert found.connections == most or found.workers == SLOTS
    assert max(found.shares(found.connections)) < files
    assert sum(found.shares(found.connections)) == found.connections


def test_a_plan_takes_no_more_workers_than_it_needs() -> None:
    assert plan(1_000_000, 20_000).workers == 53
    assert plan(1_000_000, 1_048_576).workers == 1
    assert plan(2_000, 20_000).workers == 1


def test_a_plan_for_so_many_workers_has_as_many_connections_as_they_hold() -> None:
    found = plan(1_000_000, 20_000, workers=2)
    assert found.workers == 2
    assert found.connections == fit(20_000, 2) < 2 * 20_000


def test_a_plan_without_descriptors() -> None:
    with pytest.raises(ValueError, match="RLIMIT_NOFILE is 64"):
        plan(1_000, 64)


def test_each_client_process_has_source_addresses_of_its_own() -> None:
    sources = plan(1_000_000, 20_000).sources()
    assert sources[:2] == ["127.1.0.1", "127.1.1.1"]
    assert len({source.rpartition(".")[0] for source in sources}) == len(sources)


def test_a_large_drain_has_a_longer_window() -> None:
    assert drain_seconds(10) == (5, 10)
    assert drain_seconds(1_000_000) == (400, 800)


MEMORY = "MemTotal:       24684512 kB\nMemAvailable:   23581848 kB\nHugePages_Total:       0\n"
SOCKETS = "sockets: used 15\nTCP: inuse 3 orphan 0 tw 58 alloc 4 mem 294\nUDP: inuse 0 mem 0\n"
SLABS = """\
slabinfo - version: 2.1
# name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : ...
TCP 3000 3120 2432 13 8 : tunables 0 0 0 : slabdata 240 240 0
filp 100 128 256 16 1 : tunables 0 0 0 : slabdata 8 8 0
"""


def test_what_the_kernel_says() -> None:
    assert readings.fields(MEMORY) == {"MemTotal": 24684512, "MemAvailable": 23581848}
    assert readings.sockstat(SOCKETS)["alloc"] == 4
    page_kib = os.sysconf("SC_PAGE_SIZE") // 1024
    assert readings.slabs(SLABS) == {"TCP": 240 * 8 * page_kib, "filp": 8 * page_kib}


def test_this_machine_can_be_read() -> None:
    before = readings.machine_seconds()
    reading = readings.read([os.getpid()], [])
    assert reading.rss >= reading.pss > 0
    assert reading.available > 0
    with readings.LeastAvailable() as least:
        assert least.kib > 0
    assert readings.machine_seconds() >= before


def test_counts_of_several_moments() -> None:
    total, now = Count(), Count()
    now.add({"open": 3, "pings": 1, "opened": 3, "refused": 0, "codes": {"1012": 2}})
    now.add({"open": 4, "pings": 1, "opened": 4, "refused": 1, "codes": {"1012": 1, "1006": 1}})
    total.merge(now)
    total.merge(Count(open=5, pings=2))
    assert (total.open, total.pings, total.opened, total.refused) == (5, 4, 7, 1)
    assert total.codes == {"1012": 3, "1006": 1}


def row() -> dict[str, Any]:
    base = readings.Reading(1000, 500, 10, 9_000, 100, 4, 0)
    full = readings.Reading(6000, 5000, 20, 1_490, 1_600, 2004, 0)
    return {
        "name": "most",
        "workers": 2,
        "clients": 1,
        "base": vars(base),
        "full": vars(full),
        "added": 1000,
        "reached": 1100,
        "stopped": "RLIMIT_NOFILE",
        "slabs": {"TCP": 1000},
        "connect_seconds": 2.5,
        "lost": {},
        "rest": {
            "seconds": 75,
            "cores": 0.5,
            "client_cores": 0.1,
            "machine_cores": 0.7,
            "pings_per_second": 10_000,
            "pings_due": 11_000,
            "lost": {"1011": 3},
        },
        "ping": {"answers": 1, "p50_ms": 1, "p99_ms": 2, "max_ms": 3},
        "echo": {"answers": 1, "p50_ms": 4, "p99_ms": 5, "max_ms": 6},
        "restart": {
            "verb_seconds": 1,
            "verb_code": 0,
            "seconds": 9,
            "codes": {"1006": 1, "1012": 1099},
            "refused": 7,
            "least_available": 1_490,
        },
        "drain": {"seconds": 8, "exit_code": 0, "codes": {"1001": 1100}},
        "logged": {"lines": 12, "first": ["a callback", "another one"]},
    }


def test_the_page() -> None:
    document = {
        "date": "2030-01-02",
        "cpu": "Z80",
        "kernel": "9.9",
        "python": "CPython 3.99",
        "form": "compiled",
        "uvloop": "1",
        "mpchat": "7.8.9",
        "files": 20_000,
        "cores": 2,
        "memory_kib": 8 * 2**20,
        "most": 1_000_000,
        "floor": 3.0,
        "warm": 20,
        "closes_per_second": 2_500,
        "ping_interval": 25.0,
        "rows": [row()],
    }
    page = report.page(document)
    for cells in (
        ["Memory of ours per connection, PSS, KiB", "4.50"],
        ["The kernel per connection, both ends, KiB", "1.50"],
        ["All memory per connection, without its client's, KiB", "7.50"],
        ["Pings answered per second, of those due", "10,000 of 11,000"],
        ["CPU of ours for each, µs", "50.0"],
        ["... closed meanwhile", "3 with 1011"],
        ["... closed", "1,099 with 1012, 1 with 1006"],
    ):
        line = next(line for line in page.splitlines() if cells[0] in line and cells[1] in line)
        assert line.count("|") == 3
    assert "1,100 of 1,000,000; RLIMIT_NOFILE" in page
    assert "12 lines, the first: `a callback`" in page
    assert "{" not in page


def test_the_page_in_docs_is_printed_from_its_json() -> None:
    measured = json.loads((DOCS / "benchmark-idle.json").read_text())
    hint = "in loadtests: python -m bench.idle --again ../docs/benchmark-idle.json --write ../docs"
    assert (DOCS / "benchmark-idle.md").read_text() == report.page(measured), hint


# The client, in front of servers that are written by hand

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None and "CI" not in os.environ, reason="the client is written in C"
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("idle") / "client"
    compile_client(program)
    return program


class Peer:
    """The server's end of one connection, upgraded."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(20)
        self._protocol = ServerProtocol()
        while not (events := self._received()):
            pass
        self._protocol.send_response(self._protocol.accept(events[0]))
        self._write()

    def send(self, opcode: Opcode, data: bytes) -> None:
        self.send_bytes(Frame(opcode, data).serialize(mask=False))

    def send_bytes(self, data: bytes) -> None:
        self._connection.sendall(data)

    def frame(self) -> Frame:
        """Return the next frame of the client."""
        while True:
            for event in self._received():
                assert isinstance(event, Frame)
                return event

    def _received(self) -> list[Any]:
        self._protocol.receive_data(self._connection.recv(4096))
        return self._protocol.events_received()

    def _write(self) -> None:
        self._connection.sendall(b"".join(self._protocol.data_to_send()))


@contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve in a thread; what that raises is raised at the end."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            serve(listening)
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failures.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=run)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def holding(client: Path, port: int) -> Iterator[Holder]:
    holder = Holder(client, port, "127.3.0.1")
    try:
        yield holder
    finally:
        holder.leave()


def counted(holder: Holder, until: Callable[[Count], bool]) -> Count:
    """Return what has happened, once enough has."""
    total = Count()
    deadline = time.monotonic() + 20
    while not until(total):
        assert time.monotonic() < deadline
        count = Count()
        count.add(holder.ask("count"))
        total.merge(count)
    return total


@needs_compiler
def test_a_ping_is_answered_and_a_close_is_counted(client: Path) -> None:
    sources = []

    def serve(listening: socket.socket) -> None:
        connection, address = listening.accept()
        sources.append(address[0])
        with connection:
            peer = Peer(connection)
            # In two parts, as a network may cut it.
            ping = Frame(Opcode.PING, b"there?").serialize(mask=False)
            peer.send_bytes(ping[:3])
            peer.send_bytes(ping[3:])
            pong = peer.frame()
            assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"there?")
            peer.send(Opcode.CLOSE, Close(1012, "restart").serialize())
            assert peer.frame().opcode is Opcode.CLOSE

    with serving(serve) as port, holding(client, port) as holder:
        opened = holder.ask("open 1")
        assert (opened["open"], opened["trouble"]) == (1, "")
        count = counted(holder, lambda count: count.codes.total() == 1 and not count.open)
    assert (count.pings, count.opened, count.codes) == (1, 1, {"1012": 1})
    assert sources == ["127.3.0.1"]


@needs_compiler
def test_who_was_closed_comes_back_when_that_is_wanted(client: Path) -> None:
    is_wanted, no_longer = threading.Event(), threading.Event()

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            Peer(connection)
            assert is_wanted.wait(20)
        connection, _ = listening.accept()
        with connection:
            peer = Peer(connection)
            assert no_longer.wait(20)
            peer.send(Opcode.CLOSE, Close(1001, "").serialize())
            peer.frame()

    with serving(serve) as port, holding(client, port) as holder:
        holder.ask("open 1")
        holder.ask("again 1")
        is_wanted.set()
        assert counted(holder, lambda count: count.opened == 2).codes == {"1006": 1}
        holder.ask("again 0")
        no_longer.set()
        count = counted(holder, lambda count: count.codes.total() == 1 and not count.open)
        assert count.codes == {"1001": 1}


@needs_compiler
@pytest.mark.parametrize(
    ("order", "asked", "answer"),
    [("ping 0.2", Opcode.PING, Opcode.PONG), ("echo 0.2", Opcode.BINARY, Opcode.BINARY)],
)
def test_answers_are_timed(client: Path, order: str, asked: Opcode, answer: Opcode) -> None:
    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            peer = Peer(connection)
            question = peer.frame()
            assert question.opcode is asked
            peer.send(answer, bytes(question.data))

    with serving(serve) as port, holding(client, port) as holder:
        holder.ask("open 1")
        found = holder.ask(order)
    assert found["answers"] == 1
    assert 0 < found["p50_ms"] == found["p99_ms"] == found["max_ms"]


@needs_compiler
@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (Frame(Opcode.TEXT, b"hello").serialize(mask=False), "a client that has said nothing"),
        (Frame(Opcode.PING, b"").serialize(mask=True), "a frame longer than any"),
        (b"\x09\x00", "a frame longer than any"),
    ],
    # The mask is random, and every process that collects tests has to find the same.
    ids=["a text", "a masked ping", "an unmasked header"],
)
def test_what_no_idle_client_gets_ends_it(
    client: Path, data: bytes, complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            Peer(connection).send_bytes(data)
            # To its end, which resets the connection.
            with suppress(ConnectionResetError):
                connection.recv(1)

    with serving(serve) as port, holding(client, port) as holder, pytest.raises(LoadFailed):
        holder.ask("open 1")
        while True:
            holder.ask("count")
    assert complaint in capfd.readouterr().err


@needs_compiler
def test_why_no_more_could_be_opened(client: Path) -> None:
    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

    with serving(serve) as port, Crowd(client, port, ["127.3.0.1"]) as crowd:
        number, trouble = crowd.open([1])
    assert (number, trouble) == (0, "the server answered: HTTP/1.1 503 Service Unavailable")
