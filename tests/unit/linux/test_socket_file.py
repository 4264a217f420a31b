"""A path is taken by one of several services that start at once, and given up by its own only."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mpchat.linux import system
from mpchat.linux.socket_file import PathTaken, SocketFile, listen_at, remove_dead


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s.sock")


def abandon(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)


@pytest.mark.parametrize(("mode", "expected"), [(0o660, 0o660), (0o777, 0o777), (None, 0o750)])
def test_its_mode_is_as_asked_or_left_to_the_umask(
    path: str, mode: int | None, expected: int
) -> None:
    before = os.umask(0o027)
    try:
        listen_at(path, 1, mode)[0].close()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == expected


@pytest.mark.parametrize("call", ["unlink", "listen"])
def test_of_two_that_start_at_once_one_is_refused(
    path: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The second one comes while the first is about to remove a dead socket, or has not listened yet."""
    abandon(path)
    real: Callable[..., object] = getattr(system, call)
    refused: list[BaseException] = []

    def start_second() -> None:
        try:
            listen_at(path, 1, None)
        except OSError as error:
            refused.append(error)

    def meanwhile(*arguments: object) -> object:
        monkeypatch.setattr(system, call, real)
        second = threading.Thread(target=start_second)
        second.start()
        second.join()
        return real(*arguments)

    monkeypatch.setattr(system, call, meanwhile)
    first, file = listen_at(path, 1, None)
    assert [str(error) for error in refused] == [
        "[Errno 110] another process keeps the folder locked"
    ]
    assert file == SocketFile.of(path)
    with first, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        with pytest.raises(PathTaken, match="another service listens there"):
            listen_at(path, 1, None)


def test_nothing_is_left_behind_where_it_cannot_listen(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(sock: socket.socket, backlog: int) -> None:
        raise OSError(1, "refused")

    monkeypatch.setattr(system, "listen", refuse)
    with pytest.raises(OSError, match="refused"):
        listen_at(path, 1, None)
    assert not os.path.lexists(path)


def test_only_a_dead_socket_is_removed(path: str, tmp_path: Path) -> None:
    remove_dead(path)
    abandon(path)
    remove_dead(path)
    assert not os.path.lexists(path)
    with listen_at(path, 1, None)[0]:
        remove_dead(path)
        assert os.path.lexists(path)
    link = tmp_path / "link"
    link.symlink_to(path)
    remove_dead(str(link))
    assert link.is_symlink()
    with pytest.raises(PathTaken, match="is not a socket"):
        listen_at(str(link), 1, None)


def test_a_file_of_another_process_stays(path: str) -> None:
    with listen_at(path, 1, None)[0] as first:
        file = SocketFile.of(path)
        os.unlink(path)
        second, other = listen_at(path, 1, None)
        file.remove()
        assert os.path.lexists(path)
        other.remove()
        other.remove()
        second.close()
        assert first.fileno() >= 0
    assert not os.path.lexists(path)
