"""``mpchat top`` on a terminal, as a person sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import DEADLINE, Service
from tests.kit.control import Control
from tests.kit.screen import OnScreen
from tests.kit.verbs import Mpchat

KEYS = r"^q quit  \? help"
UP, DOWN, RIGHT, ESC = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b"

pytestmark = pytest.mark.shared_service


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    manager = service_config_yaml["components_manager"]
    manager["components"]["rooms"] = {}
    manager["components"]["room-handler"] = {"path": "/rooms/{room}"}
    manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
    # On a busy machine a worker that a test has frozen is not taken for a stuck one.
    manager["components"]["server"]["worker-hang-timeout"] = "60s"
    return service_config_yaml


@pytest.fixture
def command(supervisor: Service, control: Control) -> list[str]:
    return [sys.executable, "-m", "mpchat", "top", "--socket", str(control.path)]


@pytest.fixture
def top(command: list[str], service_tmpdir: Path) -> Iterator[OnScreen]:
    """The command at 80 columns, when it shows something."""
    with OnScreen(command, service_tmpdir) as screen:
        screen.wait_until_shows(KEYS)
        yield screen


async def shows(top: OnScreen, pattern: str) -> re.Match[str]:
    return await asyncio.to_thread(top.wait_until_shows, pattern)


async def test_what_clients_do_is_seen(top: OnScreen, websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("rooms/den") as member, websocket_client.get("chat") as chat:

        async def talk() -> None:
            while True:
                for one in (member, chat):
                    await one.send("hello")
                    await one.recv()
                await asyncio.sleep(0.05)

        talking = asyncio.create_task(talk())
        await shows(top, "^2 connections ")
        await shows(top, r"^[1-9][\d.]* messages/s in .* [1-9][\d.]* messages/s out .*█")
        await shows(top, r"^  broker +\d+ +ready +1 +[1-9]")
        await shows(top, r"^1 room\b(?s:.*)^ROOM +MEMBERS +IN/s\nden +1 +[1-9]")
        assert top.colours > {"default"}
        talking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await talking


async def test_keys_lead_to_the_connections_of_a_worker_and_back(
    top: OnScreen, websocket_client: WebsocketClient, control: Control
) -> None:
    async with contextlib.AsyncExitStack() as clients:
        while not all(worker["connections"] for worker in control.workers()):
            await clients.enter_async_context(websocket_client.get("chat"))
        _first, second = control.workers()
        await shows(top, f"^> +0 +(?s:.*)^ +1 +{second['pid']} +ready +{second['connections']} ")
        top.type(DOWN)
        await shows(top, "^> +1 ")
        assert second["name"].endswith(top.marked.split()[1])
        top.type("\r")
        await shows(top, rf"^{second['name']} pid {second['pid']}  {second['connections']} conn")
        others = {row["id"] for row in control.connections()}
        for row in control.ask("connections", pid=second["pid"])["connections"]:
            others.remove(row["id"])
            await shows(top, rf"^{row['id']} +{re.escape(row['peer'])} +- +/chat ")
        assert not any(line.startswith(tuple(others)) for line in top.lines)
        top.type("a")
        await shows(top, "AGE▼")
        top.type(ESC)
        await shows(top, "^> +1 ")
    for key, expected in (
        ("c", "CONNS▼"),
        ("c", "CONNS▲"),
        (RIGHT, "IN/s▼"),
        ("w", "WORKER▲|WORKER(?s:.*)^> +1"),
        (UP, "^> +0 "),
        ("?", "^any key: back"),
        (" ", KEYS),
        ("p", "PAUSED"),
    ):
        top.type(key)
        await shows(top, expected)
    top.type("q")
    assert await asyncio.to_thread(top.wait) == 0


def test_a_killed_worker_and_its_successor_are_seen(
    top: OnScreen, supervisor: Service, control: Control
) -> None:
    victim = control.workers()[1]
    os.kill(victim["pid"], signal.SIGKILL)
    top.wait_until_shows(rf"^\d\d:\d\d:\d\d  slot 1: .*pid {victim['pid']} has ended")
    top.wait_until_shows(rf"^ +1 +(?!{victim['pid']})\d+ +ready ")


def test_a_silent_service_is_said_until_it_answers_again(
    top: OnScreen, supervisor: Service
) -> None:
    (monitor,) = supervisor.pids("monitor")
    os.kill(monitor, signal.SIGSTOP)
    try:
        top.wait_until_shows(r"^no answer since \d\d:\d\d:\d\d, for \d")
        # Keys work meanwhile.
        top.type(DOWN)
        top.wait_until_shows("^> +1 ")
    finally:
        os.kill(monitor, signal.SIGCONT)
    top.wait_until_shows(r"\A(?!no answer)mpchat ")


def test_a_frozen_worker_is_seen_and_holds_up_nothing(
    top: OnScreen, supervisor: Service, control: Control
) -> None:
    frozen = control.workers()[0]["pid"]
    os.kill(frozen, signal.SIGSTOP)
    try:
        top.wait_until_shows(rf"^> +0 +{frozen} +silent \d")
        top.type("\r")
        top.wait_until_shows(f"pid {frozen} has not answered: busy, stuck, or just ended")
        # The rest goes on, though this question takes two seconds each time.
        up = top.wait_until_shows(r"^mpchat .* up (\S+)")[1]
        top.wait_until_shows(rf"^mpchat .* up (?!{re.escape(up)} )")
    finally:
        os.kill(frozen, signal.SIGCONT)
    top.wait_until_shows(rf"pid {frozen}  \d+ connections\n")


def test_another_size_is_followed(top: OnScreen) -> None:
    assert "RESTARTS" not in "\n".join(top.lines)
    top.resize(140, 40)
    top.wait_until_shows(r"RESTARTS +GEN(?s:.*)^q quit .*\Z")
    assert top.lines[39].startswith("q quit")
    top.resize(60, 12)
    top.wait_until_shows(r"\A(?!(?s:.*)RESTARTS)(?s:.*)WORKER(?s:.*)^q quit")
    assert len(top.lines) == 12
    assert top.lines[11].startswith("q quit")


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("q", 0),
        ("\x03", 0),
        ("\x1c", -signal.SIGQUIT),
        (signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGHUP, -signal.SIGHUP),
    ],
)
def test_the_terminal_is_as_it_was(
    command: list[str], service_tmpdir: Path, ending: str | signal.Signals, code: int
) -> None:
    with OnScreen(["prlimit", "--core=0", *command], service_tmpdir) as top:
        before = top.modes()
        top.wait_until_shows(KEYS)
        assert not top.modes()[3] & (termios.ECHO | termios.ICANON)
        if isinstance(ending, str):
            top.type(ending)
        else:
            top.process.send_signal(ending)
        assert top.wait() == code
        assert top.modes() == before
    assert top.shown.endswith("\x1b[?25h\x1b[?1049l")
    assert "Traceback" not in top.shown


def test_a_signal_that_was_ignored_stays_ignored(command: list[str], service_tmpdir: Path) -> None:
    with OnScreen(["env", "--ignore-signal=HUP", *command], service_tmpdir) as top:
        top.wait_until_shows(KEYS)
        top.process.send_signal(signal.SIGHUP)
        top.type(DOWN)
        top.wait_until_shows("^> +1 ")
        top.type("q")
        assert top.wait() == 0


def test_it_can_be_stopped_and_continued(command: list[str], service_tmpdir: Path) -> None:
    shell = ["bash", "--norc", "--noprofile", "--noediting", "-i"]
    with OnScreen(shell, service_tmpdir, {"PS1": "$ "}) as top:
        top.wait_until_shows(r"^\$")
        before = top.modes()
        top.type(f"{shlex.join(command)}\n")
        top.wait_until_shows(KEYS)
        top.type("\x1a")
        top.wait_for(r"\x1b\[\?1049l(?s:.*)Stopped")
        assert top.modes() == before
        # In the background it may not have the terminal, and waits.
        top.type("bg\n")
        top.wait_for(r"top .*&")
        top.type("\n")
        top.wait_for("Stopped")
        assert top.modes() == before
        top.type("fg\n")
        top.wait_for(r"\x1b\[\?1049h(?s:.*)q quit")
        top.type("q")
        top.wait_for(r"\x1b\[\?1049l")
        top.type("echo status-$?\n")
        top.wait_for("status-0")
        assert top.modes() == before
        # What is stopped can be ended.
        top.type(f"{shlex.join(command)}\n")
        top.wait_for(r"\x1b\[\?1049h(?s:.*)q quit")
        top.type("\x1a")
        top.wait_for("Stopped")
        top.type("pid=$(jobs -p); kill %1\n")
        top.type("while kill -0 $pid; do sleep 0.01; done; echo status-$?\n")
        top.wait_for("No such process(?s:.*)status-0")
        assert top.modes() == before
        top.type("exit\n")
        assert top.wait() == 0


def test_a_mistake_of_ours_is_a_traceback_on_a_good_terminal(
    command: list[str], service_tmpdir: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import mpchat.cli.top.loop as loop\n"
        "def fail(*_): raise LookupError('planted')\n"
        "loop.draw = fail\n"
    )
    with OnScreen(command, service_tmpdir, {"PYTHONPATH": str(tmp_path)}) as top:
        before = top.modes()
        assert top.wait() == 1
        assert top.modes() == before
    assert re.search(r"\x1b\[\?1049lTraceback (?s:.*)LookupError: planted\n\Z", top.shown)


def test_no_colours_are_shown_where_none_are_wanted(
    command: list[str], service_tmpdir: Path
) -> None:
    with OnScreen(command, service_tmpdir, {"NO_COLOR": "1"}) as top:
        top.wait_until_shows("^> +0 ")
        assert top.colours == {"default"}
        assert top.marked.startswith("> ")


def test_a_dumb_terminal_gets_one_table_after_the_other(
    command: list[str], service_tmpdir: Path
) -> None:
    with OnScreen(command, service_tmpdir, {"TERM": "dumb"}) as top:
        for _ in range(2):
            top.wait_for(r"mpchat .*\n(?s:.*?)WORKER▲ +PID (?s:.*?)\n0 +\d+ +ready ")
        top.type("\x03")
        assert top.wait() == 0
    assert "\x1b" not in top.shown
    assert max(map(len, top.shown.splitlines())) <= 80


def test_a_pipe_gets_one_table(mpchat: Mpchat, supervisor: Service, control: Control) -> None:
    result = mpchat("top", "--socket", str(control.path))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("mpchat ") == 1
    for worker in control.workers():
        assert re.search(
            rf"^ *{worker['slot']} +{worker['pid']} +ready .* 0\.0 ", result.stdout, re.M
        )
    for column in ("AGE", "RESTARTS", "GEN", "B-OUT/s"):
        assert column in result.stdout


def test_no_service_is_an_error(mpchat: Mpchat, tmp_path: Path) -> None:
    result = mpchat("top", "--socket", str(tmp_path / "none.sock"))
    assert result.returncode == 1
    assert "is it running?" in result.stderr


def test_without_the_extra_the_pip_line_is_told(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise ImportError('not installed')\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE, check=False, env=environment
    )
    assert result.returncode == 64
    assert result.stderr == "mpchat: top needs rich: pip install 'mpchat[top]'\n"
