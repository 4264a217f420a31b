"""The load client finds what a server does wrong: servers here answer with bytes written by hand."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from bench.load import Load, LoadFailed, compile_client
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from mpchat.testsuite.service import wait_until

Answer = Callable[[Frame], list[bytes]]

# In CI a missing compiler is a failure; a machine with Python and make only has no benchmark to test.
pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None and "CI" not in os.environ, reason="the client is written in C"
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    program = tmp_path_factory.mktemp("client") / "client"
    return str(program), compile_client(program)


@pytest.fixture(scope="module")
def client(compiled: tuple[str, list[str]]) -> str:
    return compiled[0]


@pytest.fixture(scope="module")
def deflating(compiled: tuple[str, list[str]]) -> str:
    program, command = compiled
    if "-lz" not in command and "CI" not in os.environ:
        pytest.skip("zlib's headers are not here")
    return program


def frame(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


def echo(received: Frame) -> list[bytes]:
    return [frame(received.opcode, bytes(received.data))]


@contextmanager
def serving(answer: Answer, client_bits: int | None = None) -> Iterator[int]:
    """Serve each connection in a thread; every data frame is answered as ``answer`` says.

    With ``client_bits`` the server agrees to permessage-deflate, with a window of so many for the client.
    """
    served: list[Future[None]] = []
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as threads:

        def serve_one(connection: socket.socket) -> None:
            with connection, suppress(BrokenPipeError, ConnectionResetError):
                converse(connection, answer, client_bits)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                served.append(threads.submit(serve_one, connection))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    for one in served:
        one.result()


def converse(connection: socket.socket, answer: Answer, client_bits: int | None) -> None:
    agreed = [ServerPerMessageDeflateFactory(client_max_window_bits=client_bits)]
    protocol = ServerProtocol(max_size=None, extensions=agreed if client_bits else None)
    while data := connection.recv(65536):
        protocol.receive_data(data)
        for event in protocol.events_received():
            if not isinstance(event, Frame):
                protocol.send_response(protocol.accept(event))  # type: ignore[arg-type]
            elif event.opcode in {Opcode.TEXT, Opcode.BINARY}:
                for part in answer(event):
                    connection.sendall(part)
        for part in protocol.data_to_send():
            connection.sendall(part)
        if protocol.close_expected():
            return


@contextmanager
def connected(client: str, port: int, *arguments: str) -> Iterator[Load]:
    core = min(os.sched_getaffinity(0))
    with Load("a test's server", [client, *arguments, str(port)], core) as load:
        load.wait_connected()
        yield load


def run(client: str, port: int, *arguments: str) -> int:
    """Let it work for a moment; what it has sent then is waited for, however long that takes."""
    with connected(client, port, *arguments) as load:
        return load.run(0.05).done


@pytest.mark.parametrize("size", ["1", "125", "126", "65535", "65536", "300000"])
def test_an_honest_echo(client: str, size: str) -> None:
    with serving(echo) as port:
        assert run(client, port, "--size", size) > 0


def test_text_in_capitals(client: str) -> None:
    def upper(received: Frame) -> list[bytes]:
        return [frame(received.opcode, bytes(received.data).upper())]

    with serving(upper) as port:
        assert run(client, port, "--upper") > 0


def test_fragments_and_pings_are_welcome(client: str) -> None:
    def fragments(received: Frame) -> list[bytes]:
        data = bytes(received.data)
        return [
            frame(received.opcode, data[:5], fin=False),
            frame(Opcode.PING, b"there?"),
            frame(Opcode.CONT, data[5:], fin=False),
            frame(Opcode.CONT, b""),
        ]

    with serving(fragments) as port:
        assert run(client, port) > 0


def test_a_flood_is_answered_and_not_counted(client: str) -> None:
    answered = 0

    def count(received: Frame) -> list[bytes]:
        nonlocal answered
        answered += 1
        return echo(received)

    with serving(count) as port:
        counted = run(client, port, "--flood", "--connections", "3")
    assert 0 < counted < answered


def test_handshakes(client: str) -> None:
    with serving(echo) as port, connected(client, port, "--handshakes") as load:
        wait_until(lambda: load.run(0.05).done > 1, "more handshakes than the first")


def flipped(received: Frame) -> list[bytes]:
    data = bytearray(received.data)
    data[-1] ^= 1
    return [frame(received.opcode, bytes(data))]


def shorter(received: Frame) -> list[bytes]:
    return [frame(received.opcode, bytes(received.data)[:-1])]


def twice(received: Frame) -> list[bytes]:
    return echo(received) * 2


def other_kind(received: Frame) -> list[bytes]:
    other = Opcode.TEXT if received.opcode is Opcode.BINARY else Opcode.BINARY
    return [frame(other, bytes(received.data))]


def masked(received: Frame) -> list[bytes]:
    return [Frame(received.opcode, received.data).serialize(mask=True)]


def reserved(received: Frame) -> list[bytes]:
    answer = bytearray(*echo(received))
    answer[0] |= 0x40
    return [bytes(answer)]


def closing(_received: Frame) -> list[bytes]:
    return [frame(Opcode.CLOSE, Close(1011, "").serialize())]


class Pairs:
    """Waits for two messages and answers both."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def __call__(self, received: Frame) -> list[bytes]:
        self._waiting.append(bytes(received.data))
        if len(self._waiting) < 2:
            return []
        first, second = self._waiting
        self._waiting.clear()
        return self.answers(received.opcode, first, second)

    def answers(self, opcode: Opcode, first: bytes, second: bytes) -> list[bytes]:
        raise NotImplementedError


class Swapped(Pairs):
    def answers(self, opcode: Opcode, first: bytes, second: bytes) -> list[bytes]:
        return [frame(opcode, second), frame(opcode, first)]


class Merged(Pairs):
    def answers(self, opcode: Opcode, first: bytes, second: bytes) -> list[bytes]:
        return [frame(opcode, first + second)]


@pytest.mark.parametrize(
    ("answer", "in_flight", "complaint"),
    [
        (flipped, 1, "an answer differs from what was sent"),
        (shorter, 1, "an answer of another length"),
        (Merged(), 2, "an answer of another length"),
        (twice, 1, "client: an answer "),
        (other_kind, 1, "opcode 1 instead of 2"),
        (masked, 1, "a masked frame from the server"),
        (reserved, 1, "a reserved bit is set"),
        (closing, 1, "closed by the server with code 1011"),
        (Swapped(), 2, "an answer differs from what was sent"),
    ],
)
def test_a_wrong_answer_is_found(
    client: str,
    answer: Answer,
    in_flight: int,
    complaint: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with serving(answer) as port, pytest.raises(LoadFailed):
        run(client, port, "--in-flight", str(in_flight))
    assert complaint in capfd.readouterr().err


def test_a_refused_handshake_is_found(client: str, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(LoadFailed):
            run(client, listening.getsockname()[1])
        thread.join()
    assert "503 Service Unavailable" in capfd.readouterr().err


def test_a_raw_echo(client: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        assert run(client, listening.getsockname()[1], "--raw") > 0
        thread.join()


def compressed(serialized: bytes) -> bytes:
    return bytes([serialized[0] | 0x40]) + serialized[1:]


class Compressing:
    """Compresses each answer, without reference to those before."""

    def __init__(self, change: Callable[[Frame], Frame] = lambda received: received) -> None:
        self._change = change

    def __call__(self, received: Frame) -> list[bytes]:
        deflate = PerMessageDeflate(True, True, 15, 15)
        answer = self._change(Frame(received.opcode, bytes(received.data)))
        packed = deflate.encode(answer)
        half = len(packed.data) // 2
        begin = frame(packed.opcode, bytes(packed.data[:half]), fin=False)
        return [compressed(begin), frame(Opcode.CONT, bytes(packed.data[half:]))]


def another_letter(received: Frame) -> Frame:
    return Frame(received.opcode, bytes(received.data)[:-1] + b"~")


def one_letter_less(received: Frame) -> Frame:
    return Frame(received.opcode, bytes(received.data)[:-1])


def no_deflate(received: Frame) -> list[bytes]:
    return [compressed(frame(received.opcode, b"\xff" * 40))]


@pytest.mark.parametrize("size", ["200", "1024", "65536", "300000"])
@pytest.mark.parametrize("answer", [Compressing(), echo])
def test_an_honest_compressed_echo(deflating: str, size: str, answer: Answer) -> None:
    with serving(answer, 12) as port:
        assert run(deflating, port, "--deflate", "--size", size) > 0


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (Compressing(another_letter), "an answer differs from what was sent"),
        (Compressing(one_letter_less), "an answer of another length"),
        (no_deflate, "an answer cannot be inflated"),
    ],
)
def test_a_wrong_compressed_answer_is_found(
    deflating: str, answer: Answer, complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(answer, 12) as port, pytest.raises(LoadFailed):
        run(deflating, port, "--deflate", "--size", "1024")
    assert complaint in capfd.readouterr().err


@pytest.mark.parametrize("bits", [None, 11])
def test_a_server_that_does_not_take_what_is_sent_is_found(
    deflating: str, bits: int | None, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(echo, bits) as port, pytest.raises(LoadFailed):
        run(deflating, port, "--deflate")
    assert "the handshake was answered with" in capfd.readouterr().err


def test_what_is_compressed_is_counted_as_it_came(deflating: str) -> None:
    with (
        serving(Compressing(), 12) as port,
        connected(deflating, port, "--deflate", "--size", "65536") as load,
    ):
        assert 5_000 < load.run(0.05).wire_bytes < 30_000


def test_pings_at_rest_are_answered_and_counted(client: str) -> None:
    pongs = []

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        protocol = ServerProtocol(max_size=None)
        with connection:
            connection.settimeout(0.01)
            while not protocol.close_expected():
                try:
                    data = connection.recv(65536)
                except TimeoutError:
                    data = b""
                    if protocol.state is State.OPEN:
                        protocol.send_ping(b"there?")
                else:
                    if not data:
                        return
                protocol.receive_data(data)
                for event in protocol.events_received():
                    if not isinstance(event, Frame):
                        protocol.send_response(protocol.accept(event))  # type: ignore[arg-type]
                    elif event.opcode is Opcode.PONG:
                        pongs.append(bytes(event.data))
                for part in protocol.data_to_send():
                    connection.sendall(part)

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as threads:
        served = threads.submit(serve, listening)
        with connected(client, listening.getsockname()[1], "--rest", "0.1") as load:
            counted = wait_until(lambda: load.run(0.1).done, "a ping that is counted")
        served.result()
    assert set(pongs) == {b"there?"}
    assert counted <= len(pongs)
