"""Asking at the control socket whatever answers there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mpchat.ipc.control import ControlError, ask

Answer = Callable[[socket.socket], None]


def served(path: Path, answer: Answer) -> threading.Thread:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def serve() -> None:
        with listening:
            client, _address = listening.accept()
            with client:
                answer(client)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize("line", [b"hello", b"{}", b"[]", b"\xff", b"1", b'{"error": "x"}'])
def test_strangers_are_told_from_a_service(tmp_path: Path, line: bytes) -> None:
    thread = served(tmp_path / "s", lambda client: client.sendall(line + b"\n"))
    with pytest.raises(ControlError, match="is not mpchat"):
        ask(str(tmp_path / "s"), {"verb": "status"})
    thread.join()


def test_who_turns_us_away_before_we_ask_is_heard(tmp_path: Path) -> None:
    def refuse(client: socket.socket) -> None:
        client.shutdown(socket.SHUT_RD)
        client.sendall(b'{"ok": false, "error": "too many clients"}\n')

    thread = served(tmp_path / "s", refuse)
    with pytest.raises(ControlError, match=r"^too many clients$"):
        ask(str(tmp_path / "s"), {"verb": "status"})
    thread.join()


def test_an_end_without_an_answer_is_told(tmp_path: Path) -> None:
    thread = served(tmp_path / "s", lambda client: client.sendall(b'{"ok": tr'))
    with pytest.raises(ControlError, match="ended before it answered"):
        ask(str(tmp_path / "s"), {"verb": "status"})
    thread.join()
