"""Unix sockets, slow readers, and a worker that does not answer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.asyncio.client import connect, unix_connect

from mpchat.errors import ExitCode
from mpchat.testsuite.service import Service
from tests.functional.conftest import Serve
from tests.kit.control import Control
from tests.kit.raw import HANDLERS
from tests.kit.waiting import eventually

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    + base64.b64encode(b"0123456789abcdef")
    + b"\r\n\r\n"
)


@pytest.mark.covers("PortOptions.unix-socket", "PortOptions.unix-socket-permissions")
async def test_a_unix_socket(
    service_command: list[str], service_config: Any, tmp_path: Path
) -> None:
    listener = service_config["components_manager"]["components"]["server"]["listener"]
    del listener["port"]
    listener["unix-socket"] = "s.sock"
    # Without quotes, as userver's configs may have it.
    listener["unix-socket-permissions"] = 661
    config = tmp_path / "unix.yaml"
    config.write_text(yaml.safe_dump(service_config))
    path = tmp_path / "s.sock"
    for kill in (True, False):
        # The second start finds the first one's file if the monitor has not removed it yet.
        service = Service([*service_command, "-c", str(config)], tmp_path)
        try:
            await asyncio.to_thread(service.wait_ready)
            assert stat.S_IMODE(path.stat().st_mode) == 0o661
            async with unix_connect(str(path), "ws://localhost/chat") as chat:
                await chat.send("hello")
                assert await chat.recv() == "hello"
                assert chat.state.name == "OPEN"
            if kill:
                service.process.kill()
                await asyncio.to_thread(service.process.wait)
                await eventually(lambda: not path.exists(), "removed socket")
            else:
                assert await asyncio.to_thread(service.stop) == 0
                assert not path.exists()
        finally:
            service.close()


def test_a_unix_socket_whose_service_stands_still_is_not_taken(
    serve: Serve, service_command: list[str], service_tmpdir: Path
) -> None:
    path = service_tmpdir / "s.sock"
    changes: dict[str, Any] = {
        "server.listener.port": None,
        "server.listener.unix-socket": str(path),
        "server.listener.backlog": 1,
    }
    with contextlib.ExitStack() as clients, serve(changes) as service:
        pids = [service.process.pid, *service.pids("worker")]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect_ex(str(path))
            with pytest.raises(BlockingIOError):
                client.connect(str(path))
            command = [*service_command, "-c", str(service_tmpdir / "changed.yaml")]
            second = subprocess.run(
                command, capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
    assert second.returncode == ExitCode.UNAVAILABLE
    assert f"cannot listen on {path}: another service listens there" in second.stderr


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", ["127.0.0.1"]), ("::1", ["::1", 0, 0])]
)
async def test_a_client_has_the_address_of_its_own_protocol(
    serve: Serve, control: Control, service_tmpdir: Path, host: str, address: list[Any]
) -> None:
    shutil.copy(HANDLERS, service_tmpdir)
    changes: dict[str, Any] = {
        "websocket-handler": None,
        "handler-ping": None,
        "handler-address": {"path": "/address"},
    }
    with serve(changes, "--app", "handlers:components") as service:
        async with connect(f"ws://localhost:{service.port}/address", host=host) as chat:
            port = chat.local_address[1]
            assert json.loads(await chat.recv()) == [address[0], port, *address[1:]]
            (listed,) = control.connections()
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            assert listed["peer"] == shown
        await eventually(lambda: f"/address 101 from {shown}" in service.stderr(), "line")


def test_a_client_that_never_reads_is_not_read_from(supervisor: Service, control: Control) -> None:
    frame = b"\x82\xff" + (65_536).to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 65_536
    with socket.create_connection(("localhost", supervisor.port)) as client:
        client.sendall(HANDSHAKE)
        assert b" 101 " in client.recv(65_536)
        client.settimeout(2)
        sent = 0
        try:
            while sent < 256 * 1024 * 1024:
                sent += client.send(frame[sent % len(frame) :])
        except TimeoutError:
            pass
        # What fits into the socket buffers of both sides and our limits, and no more.
        assert sent < 64 * 1024 * 1024
        (row,) = control.connections()
        # One read of the loop's, and the write limit with the message that exceeded it.
        assert row["messages_waiting"] * 65_536 <= 256 * 1024
        assert row["bytes_waiting"] <= 3 * 65_536


def test_a_frozen_worker_is_named_and_others_go_on(supervisor: Service) -> None:
    frozen = supervisor.pids("worker")[0]
    os.kill(frozen, signal.SIGSTOP)
    try:
        assert "generation 2" in supervisor.reload()
        assert f"pid {frozen} has not confirmed generation 2" in supervisor.stderr()
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert "generation 3" in supervisor.reload()
    assert supervisor.stderr().count("has not confirmed") == 1
