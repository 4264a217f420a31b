"""``make bench-tls``: its client, its verdicts, and its storm in small, with a real service."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from bench.load import OPENSSL, Load, LoadFailed, compile_client
from bench.running import Place
from bench.servers import BASE_TLS, CERTIFICATE, KEY, OURS, SERVERS
from bench.storm.measuring import CONNECTED, RATE, Clients, may_come_first
from bench.storm.measuring import compile_client as compile_storm
from bench.tls import report
from bench.tls.certificates import put_certificate
from bench.tls.rows import AFTER, IDLE, ROWS, SMALL
from bench.tls.storm import stormed

DOCS = Path(__file__).parents[3] / "docs"

# In CI a missing compiler is a failure; a machine with Python and make only has no benchmark to test.
needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None and "CI" not in os.environ, reason="the client is written in C"
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = tmp_path_factory.mktemp("client") / "client"
    if "-DTLS" not in compile_client(program, OPENSSL) and "CI" not in os.environ:
        pytest.skip("OpenSSL's headers are not here")
    return str(program)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certified")
    put_certificate(folder, "EC")
    return folder


def context_of(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    return context


def same(data: bytes) -> bytes:
    return data


@contextmanager
def serving(context: ssl.SSLContext, answer: Callable[[bytes], bytes] = same) -> Iterator[int]:
    """Serve each connection in a thread, which answers whatever it receives."""
    threads: list[threading.Thread] = []

    def converse(connection: socket.socket) -> None:
        with connection, suppress(OSError), context.wrap_socket(connection, True) as stream:
            while data := stream.recv(65536):
                stream.sendall(answer(data))
            stream.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threads.append(threading.Thread(target=converse, args=listening.accept()[:1]))
                    threads[-1].start()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        for other in threads:
            other.join()


def run(client: str, port: int, *arguments: str) -> int:
    """Let it work for a moment, by raw TLS."""
    core = min(os.sched_getaffinity(0))
    command = [client, "--raw", *arguments, str(port)]
    with Load("a test's server", command, core) as load:
        load.wait_connected()
        return load.run(0.05).done


@needs_compiler
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("size", ["1", "16384", "300000"])
def test_an_honest_echo(client: str, certified: Path, version: str, size: str) -> None:
    with serving(context_of(certified)) as port:
        assert run(client, port, "--tls", version, "--size", size, "--connections", "3") > 0


@needs_compiler
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("resume", [[], ["--resume"]], ids=["full", "resumed"])
def test_handshakes(client: str, certified: Path, version: str, resume: list[str]) -> None:
    context = context_of(certified)
    with serving(context) as port:
        done = run(client, port, "--tls", version, "--handshakes", "--connections", "2", *resume)
    assert done > 0
    # Whoever resumes had one full handshake each.
    assert context.session_stats()["accept_good"] == done + (2 if resume else 0)
    assert context.session_stats()["hits"] == (done if resume else 0)


@needs_compiler
def test_who_may_not_resume_says_so(
    client: str, certified: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    context = context_of(certified)
    context.num_tickets = 0
    with serving(context) as port, pytest.raises(LoadFailed):
        run(client, port, "--tls", "1.3", "--handshakes", "--resume")
    assert "the server gave no session to resume" in capfd.readouterr().err


@needs_compiler
def test_a_wrong_answer_is_found(
    client: str, certified: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def shorter(data: bytes) -> bytes:
        return data if data.startswith(b"GET ") else data[:-1] + bytes([data[-1] ^ 1])

    with serving(context_of(certified), shorter) as port, pytest.raises(LoadFailed):
        run(client, port, "--tls", "1.3")
    assert "an answer differs from what was sent" in capfd.readouterr().err


@needs_compiler
def test_another_version_is_found(
    client: str, certified: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    context = context_of(certified)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with serving(context) as port, pytest.raises(LoadFailed):
        run(client, port, "--tls", "1.2")
    assert "TLS, handshake: " in capfd.readouterr().err


@needs_compiler
def test_the_connected_are_answered_while_client_hellos_come(client: str, tmp_path: Path) -> None:
    assert client, "it is there wherever OpenSSL's headers are"
    folder = tmp_path / "service"
    folder.mkdir()
    cores = sorted(os.sched_getaffinity(0))
    clients = Clients(tmp_path / "clients", cores[-1], may_come_first())
    compile_storm(clients.program, OPENSSL)
    found = stormed(OURS, folder, Place(sys.executable, str(cores[0])), clients, 1)
    for phase in ("quiet", "storm"):
        (window,) = found[phase]["windows"]
        assert window["answers"] == RATE >= CONNECTED
    (second,) = found["storm"]["seconds"]
    assert second["taken"] > 0
    assert second["failed"] == second["refused"] == 0


def test_each_row_has_servers_with_their_files() -> None:
    for row in ROWS:
        speaking = [server for server in SERVERS if row.suits(server)]
        assert {"uvloop TLS", "mpchat", "uvicorn", "granian"} <= {s.name for s in speaking}
    assert "--raw" in SMALL.arguments(BASE_TLS)
    assert SMALL.arguments(OURS)[-2:] == ["--tls", "1.3"]
    for server in SERVERS:
        if server.package in {"uvicorn", "granian"} and server.has("tls"):
            words = server.command_line("python", 1, "tls")
            assert {CERTIFICATE, KEY} <= set(words)


def sample(row: str, server: str, value: float) -> dict[str, Any]:
    return {"row": row, "server": server, "round": 0, "value": value}


def storm(server: str, p99_ms: float) -> dict[str, Any]:
    window = {
        "answers": RATE,
        "p50_us": 100,
        "p99_us": p99_ms * 1000,
        "most_us": 1,
        "client_p99_us": 1,
    }
    second = {"taken": 1234, "given_up": 0}
    phase = {"windows": [window], "seconds": [second]}
    return {"server": server, "quiet": phase, "storm": phase}


def document(
    small: float = 1.3, kib: float = 20, uvicorn: float = 50, p99_ms: float = 3
) -> dict[str, Any]:
    samples = [
        sample(SMALL.name, "uvloop TLS", 20),
        sample(SMALL.name, "mpchat", 20 * small),
        sample(SMALL.name, "uvicorn", uvicorn),
        sample(IDLE.name, "mpchat", kib),
        sample(AFTER.name, "mpchat", kib),
    ]
    storms = [storm("mpchat", p99_ms), storm("uvicorn", 31)]
    facts = dict.fromkeys(("cpu", "kernel", "python", "mpchat", "date", "openssl"), "x")
    return {
        **facts,
        "load": 0.1,
        "versions": {},
        "servers": {},
        "samples": samples,
        "storms": storms,
    }


def test_a_verdict_for_each_bar() -> None:
    assert [*report.verdicts(document()).values()] == [True] * 5
    bad = report.verdicts(document(small=1.31, kib=20.1, uvicorn=20, p99_ms=31))
    assert [*bad.values()] == [False] * 5
    assert f"ahead of uvicorn in each row ({SMALL.name})" in bad


def test_what_was_not_measured_is_not_judged() -> None:
    assert report.verdicts({"samples": [], "storms": []}) == {}


def test_the_page_has_tables_of_what_was_measured() -> None:
    page = report.page(document())
    assert "- Yes: 32 bytes cost at most 1.3 times uvloop's TLS echo (1.30)." in page
    assert "Answers while ClientHellos come, p50 / p99, ms" in page
    assert "0.10 / 3.00" in page
    assert "1,234" in page
    assert "CPU of a connection that comes and goes" not in page


def test_the_page_is_printed_from_its_numbers() -> None:
    measured = json.loads((DOCS / "benchmark-tls.json").read_text())
    hint = "in loadtests: python -m bench.tls --again ../docs/benchmark-tls.json --write ../docs"
    assert (DOCS / "benchmark-tls.md").read_text() == report.page(measured), hint
