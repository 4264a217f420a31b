"""The control socket and the verbs that ask it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.exceptions import ConnectionClosed

from mpchat.ipc.control import ControlError
from mpchat.scoreboard.counters import LIMITS, TOTALS
from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.service import Service, wait_until
from tests.kit.control import Control
from tests.kit.terminal import OnTerminal
from tests.kit.verbs import Mpchat
from tests.kit.waiting import eventually

Verb = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    # On a busy machine a worker that a test has frozen is not taken for a stuck one.
    server = service_config_yaml["components_manager"]["components"]["server"]
    server["worker-hang-timeout"] = "60s"
    return service_config_yaml


@pytest.fixture
def verb(mpchat: Mpchat, supervisor: Service, service_config_path_temp: Path) -> Verb:
    return lambda name, *arguments: mpchat(name, "-c", str(service_config_path_temp), *arguments)


async def wait_for_messages(control: Control, count: int) -> None:
    await eventually(
        lambda: control.totals()["messages_sent"] >= count, f"count of {count} messages"
    )


async def test_status_counts_what_a_client_counted(
    supervisor: Service, websocket_client: WebsocketClient, verb: Verb, control: Control
) -> None:
    async with websocket_client.get("chat") as chat:
        for number in range(100):
            await chat.send("x" * number)
            await chat.recv()
        # A worker publishes at the end of a turn of its loop, perhaps after its client has the answer.
        await wait_for_messages(control, 100)
        totals = control.totals()
        assert (totals["messages_received"], totals["messages_sent"]) == (100, 100)
        assert totals["bytes_received"] == totals["bytes_sent"] == sum(range(100))
        assert totals["connections"] == 1
        answer = json.loads((await asyncio.to_thread(verb, "status", "--json")).stdout)
        assert {worker["pid"] for worker in answer["workers"]} == set(supervisor.pids("worker"))
        assert all(worker["state"] == "ready" for worker in answer["workers"])
        assert all(worker["pss_bytes"] > 1_000_000 for worker in answer["workers"])
        shown = (await asyncio.to_thread(verb, "status")).stdout
        assert supervisor.ready_line.removesuffix(", 4 workers") in shown
        assert shown.count("main-task-processor/") == 4
        (row,) = json.loads((await asyncio.to_thread(verb, "connections", "--json")).stdout)[
            "connections"
        ]
        assert (row["messages_received"], row["bytes_sent"]) == (100, sum(range(100)))
        assert row["path"] == "/chat"
        assert row["id"] in (await asyncio.to_thread(verb, "connections")).stdout


@pytest.mark.shared_service
async def test_connections_of_a_worker_and_those_with_most(
    supervisor: Service, websocket_client: WebsocketClient, control: Control
) -> None:
    async with contextlib.AsyncExitStack() as clients:
        for number in range(6):
            chat = await clients.enter_async_context(websocket_client.get("chat"))
            for _ in range(number):
                await chat.send("hello")
                await chat.recv()
        asked = control.ask("connections", by="messages_sent", limit=3)
        assert [row["messages_sent"] for row in asked["connections"]] == [5, 4, 3]
        assert asked["silent"] == []
        rest = {row["id"] for row in control.connections()}
        assert len(rest) == 6
        for worker in control.workers():
            asked = control.ask("connections", pid=worker["pid"])
            assert asked["silent"] == []
            rest -= {row["id"] for row in asked["connections"]}
        assert rest == set()
    assert control.ask("connections", pid=1) == {"connections": [], "silent": [1]}


@pytest.mark.shared_service
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"pid": "1"}, "takes the pid of a worker"),
        ({"pid": True}, "takes the pid of a worker"),
        ({"by": "path"}, "are sorted by age_seconds, messages_received"),
        ({"by": []}, "are sorted by age_seconds, messages_received"),
        ({"limit": 0}, "takes a limit, a number from 1"),
        ({"limit": 1.5}, "takes a limit, a number from 1"),
    ],
)
def test_connections_are_asked_for_properly(
    supervisor: Service, control: Control, arguments: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ControlError, match=expected):
        control.ask("connections", **arguments)


@pytest.mark.shared_service
async def test_a_query_is_not_shown(websocket_client: WebsocketClient, verb: Verb) -> None:
    async with websocket_client.get("chat?token=secret"):
        result = await asyncio.to_thread(verb, "connections", "--json")
    assert "/chat" in result.stdout
    assert "secret" not in result.stdout


@pytest.mark.shared_service
async def test_totals_never_fall_while_workers_are_killed(
    supervisor: Service, websocket_client: WebsocketClient, control: Control
) -> None:
    before = control.totals()
    restarts_before = restarts(control)
    sent = before["messages_sent"]
    received = before["messages_received"] + 100
    for _ in range(5):
        async with websocket_client.get("chat") as chat:
            for _ in range(20):
                await chat.send("hello")
                await chat.recv()
                sent += 1
            await wait_for_messages(control, sent)
            victim = random.choice(supervisor.pids("worker"))
            os.kill(victim, signal.SIGKILL)
            for _ in range(20):
                totals = control.totals()
                assert all(totals[name] >= before[name] for name in TOTALS)
                before = totals
            with contextlib.suppress(ConnectionClosed):
                await chat.close()
        await eventually(partial(is_replaced, supervisor, victim), "replacement")
    assert control.totals()["messages_received"] == received
    # The supervisor shows it at the end of its turn; the new worker may be there before.
    await eventually(lambda: restarts(control) >= restarts_before + 5, "count of all restarts")
    assert restarts(control) == restarts_before + 5


def is_replaced(service: Service, victim: int) -> bool:
    pids = service.pids("worker")
    return len(pids) == 4 and victim not in pids


def restarts(control: Control) -> int:
    return sum(worker["restarts"] for worker in control.workers())


@pytest.mark.shared_service
async def test_a_frozen_worker_is_shown_and_the_others_report(
    supervisor: Service, websocket_client: WebsocketClient, verb: Verb, control: Control
) -> None:
    frozen = supervisor.pids("worker")[0]
    os.kill(frozen, signal.SIGSTOP)
    try:

        def is_silent() -> bool:
            workers = {worker["pid"]: worker for worker in control.workers()}
            return bool(workers[frozen]["silent_seconds"] > 1)

        await eventually(is_silent, "silence of the worker")
        result = await asyncio.to_thread(verb, "connections")
        assert f"worker pid {frozen} did not answer" in result.stderr
        result = await asyncio.to_thread(verb, "reload")
        assert result.returncode == 1
        assert f"pid {frozen} has not confirmed generation " in result.stderr
    finally:
        os.kill(frozen, signal.SIGCONT)


@pytest.mark.shared_service
def test_a_frozen_supervisor_is_shown(supervisor: Service, verb: Verb, control: Control) -> None:
    supervisor.freeze(supervisor.pid)
    try:
        wait_until(lambda: control.status()["silent_seconds"] > 1, "silence of the supervisor")
        result = verb("status")
        assert ",silent:" in result.stdout.splitlines()[0]
    finally:
        supervisor.thaw(supervisor.pid)


@pytest.mark.shared_service
def test_reload_says_how_it_went(verb: Verb, control: Control, config_fallback_path: Path) -> None:
    number = control.status()["generation"]
    result = verb("reload")
    assert result.returncode == 0
    assert result.stdout == f"dynamic config generation {number + 1} is applied in every worker\n"
    config_fallback_path.write_text('{"USERVER_LOG_REQUEST": 1, "MPCHAT_LIMITS": []}')
    result = verb("reload")
    assert result.returncode == 1
    assert "USERVER_LOG_REQUEST: expected true or false, got 1" in result.stderr
    assert "MPCHAT_LIMITS: expected a mapping, got []" in result.stderr
    config_fallback_path.write_text("{}")
    assert json.loads(verb("reload", "--json").stdout) == {"generation": number + 2}


@pytest.mark.shared_service
def test_many_reloads_at_once_are_all_answered(supervisor: Service, control: Control) -> None:
    number = control.status()["generation"]
    clients = [socket.socket(socket.AF_UNIX) for _ in range(30)]
    for client in clients:
        client.connect(str(control.path))
        client.sendall(b'{"verb": "reload"}\n')
    generations = []
    for client in clients:
        with client, client.makefile() as lines:
            answer = json.loads(lines.readline())
            assert answer["ok"]
            generations.append(answer["generation"])
    assert max(generations) <= number + 30


HOSTILE = {
    "no json": b"status\n",
    "no object": b"[]\n",
    "no verb": b"{}\n",
    "strange verb": b'{"verb": {"a": 1}}\n',
    "nul": b"\0\n",
    "deep": b"[" * 60_000 + b"\n",
    "not utf-8": b'{"verb": "\xff"}\n',
    "too long": b"x" * 200_000 + b"\n",
}


@pytest.mark.shared_service
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_requests_are_answered_with_an_error(
    supervisor: Service, control: Control, kind: str
) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(control.path))
        client.sendall(HOSTILE[kind])
        with client.makefile("rb") as lines:
            assert json.loads(lines.readline())["ok"] is False
    assert len(control.workers()) == 4


@pytest.mark.shared_service
def test_many_clients_that_say_nothing_do_not_shut_others_out_for_ever(
    supervisor: Service, control: Control
) -> None:
    clients = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for client in clients:
        client.connect(str(control.path))
    for client in clients:
        client.close()
    assert wait_until(lambda: answers(control), "an answer")


def answers(control: Control) -> bool:
    try:
        return len(control.workers()) == 4
    except ControlError as error:
        assert "too many clients" in str(error)
        return False


@pytest.mark.shared_service
def test_a_killed_monitor_comes_back(supervisor: Service, control: Control) -> None:
    workers = set(supervisor.pids("worker"))
    for _ in range(2):
        victim = supervisor.pids("monitor")[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda gone=victim: set(supervisor.pids("monitor")) - {gone}, "a monitor")  # type: ignore[misc]
        wait_until(lambda: answers_at_all(control), "an answer of the new monitor")
    assert set(supervisor.pids("worker")) == workers


def answers_at_all(control: Control) -> bool:
    try:
        return bool(control.workers())
    except ControlError as error:
        assert "cannot ask" in str(error) or "ended before" in str(error)
        return False


@pytest.mark.covers("ServerOptions.control-socket")
@pytest.mark.shared_service
def test_the_socket_is_private_and_goes_with_the_service(
    supervisor: Service, control: Control, verb: Verb
) -> None:
    assert stat.S_IMODE(control.path.stat().st_mode) == 0o600
    assert supervisor.stop() == 0
    assert not control.path.exists()
    result = verb("status")
    assert result.returncode == 1
    assert (
        "For a service of another user or environment, name the socket by --socket" in result.stderr
    )


@pytest.mark.shared_service
def test_the_socket_goes_though_the_monitor_is_stuck(supervisor: Service, control: Control) -> None:
    supervisor.freeze(supervisor.pids("monitor")[0])
    assert supervisor.stop() == 0
    assert not control.path.exists()


@pytest.mark.shared_service
def test_the_socket_goes_with_a_killed_supervisor(supervisor: Service, control: Control) -> None:
    supervisor.process.kill()
    supervisor.process.wait()
    wait_until(lambda: not control.path.exists(), "removed socket")


def test_an_unusable_path_ends_the_start(
    service_command: list[str], service_config_yaml: Any, tmp_path: Path
) -> None:
    server = service_config_yaml["components_manager"]["components"]["server"]
    server["control-socket"] = "missing/control.sock"
    config = tmp_path / "unusable.yaml"
    config.write_text(json.dumps(service_config_yaml))
    result = subprocess.run(
        [*service_command, "-c", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 78
    assert "missing/control.sock: No such file or directory" in result.stderr


def test_no_service_is_found_by_a_port_that_nobody_chose(
    mpchat: Mpchat, service_config_yaml: Any, tmp_path: Path
) -> None:
    del service_config_yaml["components_manager"]["components"]["server"]["control-socket"]
    config = tmp_path / "chosen.yaml"
    config.write_text(json.dumps(service_config_yaml))
    for arguments, expected in (
        (["-c", str(config)], "name the socket by --socket"),
        ([], "Missing option '-c' / '--config' or '--socket'"),
    ):
        result = mpchat("status", *arguments)
        assert result.returncode == 64
        assert expected in result.stderr


@pytest.mark.shared_service
def test_a_watched_status_is_drawn_until_ctrl_c(
    supervisor: Service, control: Control, service_tmpdir: Path
) -> None:
    status = [sys.executable, "-m", "mpchat", "status", "--socket", str(control.path)]
    with OnTerminal([*status, "--watch", "0.2"], service_tmpdir, {"COLUMNS": "80"}) as terminal:
        for _ in range(2):
            drawn = terminal.wait_for(r"\x1b\[Hmpchat (?s:.*?)\x1b\[J")[0]
            assert "MSG-OUT/s" in drawn
            assert "no room for RESTARTS" in drawn
        terminal.type("\x03")
        assert terminal.wait() == 0
    assert terminal.shown.endswith("\x1b[?1049l")
    assert "Traceback" not in terminal.shown


@pytest.mark.shared_service
async def test_listeners_tell_who_waits_and_who_accepts(
    supervisor: Service, control: Control, verb: Verb
) -> None:
    slots = control.ask("listeners")["slots"]
    pids = {worker["slot"]: worker["pid"] for worker in control.workers()}
    assert {slot["slot"]: slot["accepted_by"][0]["pid"] for slot in slots} == pids
    frozen = supervisor.pids("worker")
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    clients = [socket.create_connection(("localhost", supervisor.port)) for _ in range(3)]
    try:

        def waiting() -> int:
            return sum(slot["waiting"] for slot in control.ask("listeners")["slots"])

        await eventually(lambda: waiting() == 3, "three waiting clients")
        shown = (await asyncio.to_thread(verb, "listeners")).stdout.splitlines()
        assert shown[0] == f"listening on [::]:{supervisor.port}, backlog 1024"
        rows = [line.split() for line in shown[3:]]
        assert [row[0] for row in rows] == ["0", "1", "2", "3"]
        assert sum(int(row[1]) for row in rows) == 3
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        for client in clients:
            client.close()
    await eventually(lambda: waiting() == 0, "accepted clients")


@pytest.mark.shared_service
def test_the_config_in_force_is_what_was_loaded(
    mpchat: Mpchat, supervisor: Service, service_config_path_temp: Path, tmp_path: Path
) -> None:
    config = str(service_config_path_temp)
    shown = mpchat("config", "show", "-c", config)
    assert shown.stdout.startswith("# in force: what the service at ")
    assert re.search(rf"\n +port: 0 +# {config}:\d+:\d+\n", shown.stdout)
    assert re.search(r"\n +backlog: 1024 +# default\n", shown.stdout)
    answer = json.loads(mpchat("config", "show", "-c", config, "--json").stdout)
    assert answer["running"]
    assert mpchat("config", "diff", config).returncode == 0
    edited = tmp_path / "edited.yaml"
    changed = yaml.safe_load(service_config_path_temp.read_text())
    changed["components_manager"]["components"]["server"]["listener"]["backlog"] = 7
    edited.write_text(yaml.safe_dump(changed))
    for arguments in (["-c", config], []):
        result = mpchat("config", "diff", str(edited), *arguments)
        assert result.returncode == 1
        head, _new, *lines = result.stdout.splitlines()
        assert head.startswith("--- in force: ")
        assert lines[:2] == ["components.server.listener.backlog:", "- 1024  # default"]
        assert re.fullmatch(rf"\+ 7  # {edited}:\d+:\d+", lines[2])
        assert len(lines) == 3


def test_without_a_service_a_config_is_shown_as_a_start_would_use_it(
    mpchat: Mpchat, service_config_path_temp: Path, tmp_path: Path
) -> None:
    config = str(service_config_path_temp)
    shown = mpchat("config", "show", "-c", config)
    assert shown.stdout.startswith(
        f"# what a start with {config} would use: no service listens at "
    )
    dynamic = mpchat("config", "show", "--dynamic", "-c", config)
    assert dynamic.stdout.startswith(f"# what a start with {config} would use: no service ")
    assert re.search(r"\nMPCHAT_DRAIN: \{.*\} +# default\n", dynamic.stdout)
    # That output is a config, too.
    again = tmp_path / "again.yaml"
    again.write_text(shown.stdout)
    assert mpchat("config", "diff", str(again), "-c", config).returncode == 0
    again.write_text(shown.stdout.replace("backlog: 1024", "backlog: many"))
    result = mpchat("config", "diff", str(again), "-c", config)
    assert result.returncode == 78
    assert "listener.backlog: expected an integer, got 'many'" in result.stderr
    for arguments in ([config], [config, "--socket", str(tmp_path / "none.sock")]):
        assert mpchat("config", "diff", *arguments).returncode == 69


@pytest.mark.shared_service
def test_every_field_is_described(supervisor: Service, control: Control) -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "control-socket.md").read_text()
    answer = control.status()
    assert set(answer["limits"]) == set(LIMITS)
    names = {*answer, *answer["totals"], *answer["workers"][0]}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


async def test_a_level_changes_everywhere_and_comes_back(
    supervisor: Service, service_client: ServiceClient, verb: Verb, control: Control
) -> None:
    assert verb("log-level", "mpchat.handlers", "warning").returncode == 0
    result = verb("log-level", "default", "error")
    assert result.stdout == "default: error\n"
    # Workers that start now have the level, too.
    workers = set(supervisor.pids("worker"))
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    # Ready, not only there: each says so, once the level is back.
    await eventually(lambda: len(control.ready() - workers) == 4, "new workers")
    await service_client.get("/ping")
    assert json.loads(verb("log-level", "default", "--json").stdout) == {
        "logger": "default",
        "level": None,
    }
    await service_client.get("/ping")
    assert verb("log-level", "mpchat.handlers").returncode == 0
    # The order has been passed on; each worker follows it when its loop turns.
    deadline = time.monotonic() + 30
    while "HEAD /ping" not in supervisor.stderr():
        assert time.monotonic() < deadline
        await service_client.request("HEAD", "/ping")
    # The crash is an error; that a worker is ready is no more than an information.
    text = supervisor.stderr()
    assert text.count("killed by SIGKILL") == 4
    assert text.count(" is ready, pid ") == 4
    assert "GET /ping" not in text


@pytest.mark.shared_service
def test_wrong_levels_are_refused(verb: Verb) -> None:
    result = verb("log-level", "default", "loud")
    assert result.returncode == 1
    assert "expected a level, one of trace, debug, info" in result.stderr
