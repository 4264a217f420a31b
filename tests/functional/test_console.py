"""The console as a process: only where it is configured, killed, stuck, replaced, and who may ask it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.service import Service, ServiceFailed, wait_until
from tests.functional.conftest import Serve
from tests.functional.test_processes import alive
from tests.kit.control import Control
from tests.kit.verbs import Mpchat

TOKEN = "correct horse battery staple"
ROTATE = "/service/on-log-rotate/"


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    components["server"]["listener-monitor"] = {"port": 0}
    components["handler-on-log-rotate"] = {"path": ROTATE, "method": "POST"}
    return service_config_yaml


def port_of(control: Control) -> int:
    """Return where the console listens, once it is ready."""
    wait_until(lambda: control.status()["console"]["state"] == "ready", "a ready console")
    address = control.status()["console"]["address"]
    assert address.startswith("http://127.0.0.1:")
    return int(address.rstrip("/").rpartition(":")[2])


def ask(
    port: int, method: str = "POST", path: str = ROTATE, **headers: str
) -> tuple[int, str, dict[str, str]]:
    """Return status, text and headers of the console's answer."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        client.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        response = client.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        client.close()


def console_pid(service: Service) -> int:
    (pid,) = service.pids("console")
    return pid


@pytest.mark.shared_service
def test_it_serves_beside_the_workers_and_status_says_where(
    supervisor: Service, control: Control, mpchat: Mpchat, service_tmpdir: Path
) -> None:
    port = port_of(control)
    console = control.status()["console"]
    assert console["pid"] == console_pid(supervisor)
    assert console["pss_bytes"] > 0
    status, text, headers = ask(port)
    assert (status, text, headers["Server"]) == (200, "", "mpchat")
    assert ask(port, "GET")[0] == 405
    assert ask(port, "GET", "/nowhere")[0] == 404
    shown = mpchat("status", "--socket", str(control.path), cwd=service_tmpdir).stdout
    assert f"console pid {console['pid']}: http://127.0.0.1:{port}/, 0 restarts" in shown


def test_without_a_listener_there_is_none(serve: Serve, control: Control) -> None:
    with serve({"server.listener-monitor": None, "handler-on-log-rotate": None}) as service:
        assert service.pids("console") == []
        assert control.status()["console"] is None


@pytest.mark.shared_service
def test_a_killed_console_is_replaced_and_nothing_else_notices(
    supervisor: Service, control: Control
) -> None:
    port = port_of(control)
    others = {pid for pid, title in supervisor.children().items() if "console" not in title}
    victim = console_pid(supervisor)
    os.kill(victim, signal.SIGKILL)
    # Whoever comes between two consoles waits for the next one.
    assert ask(port)[0] == 200
    assert console_pid(supervisor) != victim
    assert {pid for pid, title in supervisor.children().items() if "console" not in title} == others
    assert f"the console pid {victim}: killed by SIGKILL; starting another" in supervisor.stderr()


def test_a_stuck_console_is_replaced(serve: Serve, control: Control) -> None:
    with serve({"server.worker-hang-timeout": "1s"}) as service:
        port = port_of(control)
        victim = console_pid(service)
        os.kill(victim, signal.SIGSTOP)
        stuck = f"the console pid {victim} is stuck"
        wait_until(lambda: stuck in service.stderr(), "a stuck console")
        assert ask(port)[0] == 200
        assert not alive(victim)


def test_it_answers_while_every_worker_is_stuck(supervisor: Service, control: Control) -> None:
    port = port_of(control)
    workers = supervisor.pids("worker")
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        status, text, _ = ask(port)
        assert status == 500
        assert all(f"pid {pid} has not answered" in text for pid in workers)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def test_a_restart_replaces_it_and_refuses_nobody(supervisor: Service, control: Control) -> None:
    port = port_of(control)
    before = console_pid(supervisor)
    control.ask("restart", None)
    wait_until(lambda: set(supervisor.pids("console")) - {before}, "the next console")
    assert ask(port)[0] == 200


@pytest.mark.shared_service
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "localhost"}, 200),
        ({"Host": "10.1.2.3:99"}, 200),
        ({"Host": "[::1]:99"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_a_page_of_another_origin_is_refused(
    supervisor: Service, control: Control, headers: dict[str, str], expected: int
) -> None:
    assert ask(port_of(control), **headers)[0] == expected


@pytest.mark.covers("MonitorListenerOptions.token", "MonitorListenerOptions.hosts")
def test_with_a_token_nobody_is_answered_without(serve: Serve, control: Control) -> None:
    monitor = {"port": 0, "token": TOKEN, "hosts": ["console.example"]}
    with serve({"server.listener-monitor": monitor}) as service:
        port = port_of(control)
        status, text, headers = ask(port)
        assert (status, "Authorization: Bearer" in text) == (401, True)
        assert headers["WWW-Authenticate"].startswith("Bearer")
        assert ask(port, Authorization="Bearer wrong")[0] == 401
        assert ask(port, Authorization=f"Bearer {TOKEN}")[0] == 200
        assert ask(port, Authorization=f"Bearer {TOKEN}", Host="console.example")[0] == 200
        assert ask(port, Authorization=f"Bearer {TOKEN}", Host="other.example")[0] == 421
        assert TOKEN not in json.dumps(control.ask("config"))
        assert TOKEN not in service.stderr()


def test_it_may_listen_on_a_unix_socket_of_its_user(
    serve: Serve, control: Control, service_tmpdir: Path
) -> None:
    place = {"unix-socket": "console.sock", "unix-socket-permissions": "660"}
    with serve({"server.listener-monitor": place}) as service:
        path = service_tmpdir / "console.sock"
        assert control.status()["console"]["address"] == str(path)
        assert path.stat().st_mode & 0o777 == 0o660
        assert service.stop() == 0
        assert not path.exists()


def test_an_address_in_use_ends_the_start(serve: Serve, control: Control) -> None:
    with serve({}):
        port = port_of(control)
        taken = {"server.listener-monitor": {"port": port}, "server.control-socket": "second"}
        with (
            pytest.raises(ServiceFailed, match=f"cannot listen on 127.0.0.1 port {port}"),
            serve(taken),
        ):
            pass


@pytest.mark.covers("ServerOptions.listener-monitor", "MonitorListenerOptions.backlog")
def test_so_many_may_wait_for_it(serve: Serve, control: Control) -> None:
    with serve({"server.listener-monitor.backlog": 3}) as service:
        port = port_of(control)
        service.freeze(console_pid(service))
        clients = []
        try:
            # Linux queues one more than it was told; whoever comes then waits in vain.
            with pytest.raises(TimeoutError):
                for _ in range(10):
                    clients.append(socket.create_connection(("127.0.0.1", port), 1))
        finally:
            service.thaw(console_pid(service))
            for client in clients:
                client.close()
        assert len(clients) == 4


@pytest.mark.covers("ConsoleHandlerOptions.path", "ConsoleHandlerOptions.method")
def test_a_handler_answers_on_its_path_by_its_methods(serve: Serve, control: Control) -> None:
    with serve({"handler-on-log-rotate": {"path": "/{any}/rotate", "method": "POST"}}):
        port = port_of(control)
        assert ask(port, "POST", "/now/rotate")[0] == 200
        status, _, headers = ask(port, "GET", "/now/rotate")
        assert (status, headers["Allow"]) == (405, "POST")
        assert ask(port)[0] == 404


@pytest.mark.covers("ConsoleHandlerOptions.load-enabled")
def test_a_handler_may_be_switched_off(serve: Serve, control: Control) -> None:
    with serve({"handler-on-log-rotate.load-enabled": False}):
        assert ask(port_of(control))[0] == 404


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param(
            {"server.listener-monitor.task_processor": "other"},
            "listener-monitor.task_processor: expected one of",
            marks=pytest.mark.covers("MonitorListenerOptions.task_processor"),
        ),
        pytest.param(
            {"handler-on-log-rotate.task_processor": "other"},
            "handler-on-log-rotate.task_processor: expected one of",
            marks=pytest.mark.covers("ConsoleHandlerOptions.task_processor"),
        ),
        pytest.param(
            {"handler-on-log-rotate.monitor-handler": False},
            "mpchat serves this handler where listener-monitor listens",
            marks=pytest.mark.covers("ConsoleHandlerOptions.monitor-handler"),
        ),
    ],
)
def test_a_mistake_in_its_sections_ends_the_start(
    serve: Serve, changed: dict[str, Any], told: str
) -> None:
    with pytest.raises(ServiceFailed, match=told), serve(changed):
        pass
