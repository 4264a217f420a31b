"""Listening sockets: joined by their group, closed to a second instance."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
from pathlib import Path
from typing import Any

import pytest

from mpchat.errors import ExitCode, StartError
from mpchat.supervisor.listeners import Listeners


def plan(**more: Any) -> dict[str, Any]:
    unix = {"unix_socket": None, "unix_socket_permissions": None}
    return {"address": "127.0.0.1", "port": 0, **unix, "backlog": 16, **more}


def test_all_slots_share_one_port_and_a_second_instance_is_refused() -> None:
    listeners = Listeners(plan(), 4)
    ports = {sock.getsockname()[1] for sock in listeners.sockets}
    assert ports == {listeners.port}
    assert len({sock.fileno() for sock in listeners.sockets}) == 4
    for _ in range(50):
        with pytest.raises(StartError, match="another process listens there") as caught:
            Listeners(plan(port=listeners.port), 4)
        assert caught.value.exit_code == ExitCode.UNAVAILABLE
    listeners.close()
    Listeners(plan(port=listeners.port), 1).close()


def test_sockets_join_later_and_none_is_given_up(tmp_path: Path) -> None:
    listeners = Listeners(plan(), 1)
    first = listeners.sockets[0]
    listeners.grow(3)
    listeners.grow(2)
    assert listeners.sockets[0] is first
    assert [sock.getsockname()[1] for sock in listeners.sockets] == [listeners.port] * 3
    listeners.close()
    unix = Listeners(plan(port=None, unix_socket=str(tmp_path / "s")), 1)
    unix.grow(3)
    assert unix.sockets == [unix.sockets[0]] * 3
    unix.close()


def test_all_addresses_of_both_families_by_default() -> None:
    listeners = Listeners(plan(address=None), 1)
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as client:
            client.connect((address, listeners.port))
    listeners.close()


def test_a_unix_socket_is_shared_taken_over_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    listeners = Listeners(plan(port=None, unix_socket=str(path)), 3)
    assert len({sock.fileno() for sock in listeners.sockets}) == 1
    with pytest.raises(StartError, match="another service listens there"):
        Listeners(plan(port=None, unix_socket=str(path)), 3)
    listeners.close()
    again = Listeners(plan(port=None, unix_socket=str(path)), 1)
    listeners.remove_file()
    assert path.exists(), "the file belongs to the second one now"
    again.close()
    again.remove_file()
    assert not path.exists()


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("important")
    with pytest.raises(StartError):
        Listeners(plan(port=None, unix_socket=str(path)), 1)
    assert path.read_text() == "important"


def test_the_kernel_holds_little_for_a_client_that_does_not_read() -> None:
    listeners = Listeners(plan(), 1)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.connect(("127.0.0.1", listeners.port))
        listeners.sockets[0].setblocking(True)
        accepted, _address = listeners.sockets[0].accept()
        with accepted:
            accepted.setblocking(False)
            assert fill(accepted) < 1024 * 1024
            # As much as it grows to without.
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 2**31 - 1)
            assert fill(accepted) > 1024 * 1024
    listeners.close()


def test_the_kernel_holds_little_of_a_client_that_is_not_read() -> None:
    listeners = Listeners(plan(), 1)
    assert unread(listeners.sockets[0]) < 512 * 1024
    listeners.close()
    # As much as it grows to without; on a busy machine the kernel does not let every window grow.
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert any(unread(other) > 512 * 1024 for _ in range(10))


def unread(listening: socket.socket) -> int:
    """Return the bytes that wait of a client that was read for a while, and is not any more."""
    with socket.socket() as client:
        client.connect(("127.0.0.1", listening.getsockname()[1]))
        listening.setblocking(True)
        accepted, _address = listening.accept()
        with accepted:
            client.setblocking(False)
            accepted.setblocking(False)
            read = 0
            while read < 64 * 1024 * 1024:
                # The window grows with what is read.
                fill(client)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        read += len(accepted.recv(4 * 1024 * 1024))
            fill(client)
            waiting: int = struct.unpack("i", fcntl.ioctl(accepted, termios.FIONREAD, bytes(4)))[0]
            return waiting


def fill(sock: socket.socket) -> int:
    """Send until no more is taken; return how much was."""
    sent = 0
    while True:
        try:
            sent += sock.send(bytes(16 * 1024))
        except BlockingIOError:
            return sent


def test_the_queue_of_each_socket_is_told(tmp_path: Path) -> None:
    listeners = Listeners(plan(), 2)
    with contextlib.ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(socket.create_connection(("127.0.0.1", listeners.port)))
        found = listeners.describe()
        queues = found.pop("queues")
        assert found == {
            "address": "127.0.0.1",
            "port": listeners.port,
            "unix_socket": None,
            "backlog": 16,
        }
        assert [limit for _waiting, limit in queues] == [16, 16]
        assert sum(waiting for waiting, _limit in queues) == 3
    listeners.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        listeners.describe()
    unix = Listeners(plan(port=None, unix_socket=str(tmp_path / "s")), 2)
    assert unix.describe() == {
        "address": None,
        "port": None,
        "unix_socket": str(tmp_path / "s"),
        "backlog": 16,
        "queues": [None, None],
    }
    unix.close()
