"""The control socket's path: made, taken over from the dead, refused to a second service."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from mpchat.errors import StartError
from mpchat.ipc.control import default_path
from mpchat.monitor.listening import listen


def test_only_the_user_may_open_it(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    before = os.umask(0)
    try:
        with listen(str(path))[0]:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_dead_services_socket_is_taken_over_and_a_living_ones_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")
    listen(path)[0].close()
    with listen(path)[0] as living:
        with pytest.raises(StartError, match="another service listens there"):
            listen(path)
        # Its queue is full: still somebody is there.
        living.listen(0)
        clients = []
        for _ in range(2):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            client.connect_ex(path)
            clients.append(client)
        with pytest.raises(StartError, match="another service listens there"):
            listen(path)
        for client in clients:
            client.close()


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(StartError, match="file there is not a socket"):
        listen(str(path))
    assert path.read_text() == "precious"


@pytest.mark.parametrize("path", ["missing/control.sock", "x" * 200])
def test_an_unusable_path_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(StartError, match="control socket ") as caught:
        listen(str(tmp_path / path))
    assert caught.value.exit_code == 78


def test_where_it_is_by_default() -> None:
    assert default_path({"RUNTIME_DIRECTORY": "/run/a:/run/b"}, "80") == "/run/a/control.sock"
    session = {"XDG_RUNTIME_DIR": "/run/user/5"}
    assert default_path(session, "8080") == "/run/user/5/mpchat-8080.sock"
    assert default_path(session, "/srv/chat.sock") == "/run/user/5/mpchat-chat.sock.sock"
    assert default_path({}, "80") == f"/tmp/mpchat-{os.getuid()}/mpchat-80.sock"
    assert default_path({"TMPDIR": "/t"}, "80") == f"/t/mpchat-{os.getuid()}/mpchat-80.sock"
