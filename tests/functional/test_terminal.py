"""What an author has at a terminal: a log for people, restarts on a change, a debugger."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.ipc.control import ControlError
from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service
from tests.kit.control import Control
from tests.kit.raw import HANDLERS
from tests.kit.terminal import OnTerminal
from tests.kit.waiting import eventually

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
Open = Callable[..., OnTerminal]


@pytest.fixture
def config(service_config: Any, service_tmpdir: Path) -> Path:
    """A config that names no format for its log."""
    shutil.copy(HANDLERS, service_tmpdir)
    manager = service_config["components_manager"]
    manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
    manager["components"]["logging"]["loggers"] = {"default": {"file_path": "@stderr"}}
    del manager["components"]["websocket-handler"]
    manager["components"]["handler-failing"] = {"path": "/failing"}
    path = service_tmpdir / "people.yaml"
    path.write_text(yaml.safe_dump(service_config))
    return path


async def test_the_log_is_for_people(
    service_command: list[str], config: Path, service_tmpdir: Path
) -> None:
    command = [*service_command, "--app", "handlers:components", "-c", str(config)]
    with OnTerminal(command, service_tmpdir) as service:
        port = int(service.wait_for(r"ws://localhost:(\d+)/failing, 2 workers\n")[1])
        async with WebsocketClient(port).get("failing") as chat:
            await chat.send("12:00:00.000 INFO 0 \x1b[0m\n")
            await chat.wait_closed()
        service.wait_for(r"closed 1011")
        service.type("\x03")
        assert service.wait() == 0
    assert "\x1b[31mERROR\x1b[0m" in service.shown
    lines = COLOUR.sub("", service.shown).splitlines()
    time = r"\d\d:\d\d:\d\d\.\d{3}"
    heads = [line for line in lines if not line.startswith("  | ")]
    # Ctrl-C is shown as it is typed, and the ready line is not the log's.
    log = [re.fullmatch(rf"(?:\^C)?({time} .*)|mpchat .*", line) for line in heads]
    assert None not in log, service.shown
    said = [re.sub(r"\d+", "N", found[1][13:]) for found in log if found and found[1]]
    assert "INFO supervisor worker main-task-processor/N is ready, pid N" in said
    assert any(
        re.fullmatch(r"INFO N handler-failing \w+-N GET /failing N from .*", line) for line in said
    )
    below = lines[next(i for i, line in enumerate(lines) if "the handler failed" in line) + 1 :]
    traceback = below[: next(i for i, line in enumerate(below) if not line.startswith("  | "))]
    assert traceback[0] == "  | Traceback (most recent call last):"
    assert traceback[-1].startswith("  | LookupError: no answer to '12:00:00.000 INFO 0 ")


CHAT = """
from mpchat import WebsocketHandlerBase, minimal_server_component_list


class Chat(WebsocketHandlerBase):
    name = "handler-chat"

    async def handle(self, chat, context):
        await chat.send("FIRST")
        async for message in chat:
            pass


components = minimal_server_component_list().append(Chat)
"""


@pytest.fixture
def watched(
    service_command: list[str], service_config: Any, service_tmpdir: Path
) -> tuple[list[str], Path]:
    """The command of a service that is watched, and the file of its code."""
    manager = service_config["components_manager"]
    components = manager["components"]
    for name in ("websocket-handler", "handler-ping"):
        components.pop(name, None)
    components["handler-chat"] = {"path": "/chat"}
    components["logging"]["loggers"] = {"default": {"file_path": "own.log"}}
    path = service_tmpdir / "watched.yaml"
    path.write_text(yaml.safe_dump(service_config))
    code = service_tmpdir / "service.py"
    code.write_text(CHAT)
    return [*service_command, "--dev", "--app", "service:components", "-c", str(path)], code


async def greeting(port: int) -> object:
    async with WebsocketClient(port).get("chat") as chat:
        return await chat.recv()


async def test_a_change_is_served(
    watched: tuple[list[str], Path], service_tmpdir: Path, config_fallback_path: Path
) -> None:
    command, code = watched
    with OnTerminal(command, service_tmpdir) as service:
        port = int(service.wait_for(r"ws://localhost:(\d+)/chat")[1])
        async with WebsocketClient(port).get("chat") as chat:
            code.write_text(CHAT.replace("FIRST", "second"))
            service.wait_for(r"mpchat: service\.py has changed\n")
            service.wait_for(r" restarted\n")
            await chat.wait_closed()
            assert chat.close_code == 1012
        assert await greeting(port) == "second"
        code.write_text(CHAT.replace("async for message", "async four message"))
        service.wait_for(r" not restarted:\n(?s:.*)SyntaxError: ")
        assert await greeting(port) == "second"
        config_fallback_path.write_text('{"USERVER_LOG_REQUEST": false}')
        service.wait_for(r"mpchat: dynamic_config_fallback\.json has changed\n")
        service.wait_for(r"generation \d+ is applied")
        # Nobody tells the service that its watcher is gone but the kernel.
        service.process.kill()
        await eventually(lambda: not listens(port), "end of the service")
    assert not (service_tmpdir / "own.log").exists()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


async def test_a_service_that_does_not_start_waits_to_be_mended(
    watched: tuple[list[str], Path], service_tmpdir: Path
) -> None:
    command, code = watched
    code.write_text("components = [")
    with OnTerminal(command, service_tmpdir) as service:
        service.wait_for(
            r"SyntaxError: (?s:.*)mpchat: the service starts again after the next change\n"
        )
        code.write_text(CHAT)
        port = int(service.wait_for(r"ws://localhost:(\d+)/chat")[1])
        assert await greeting(port) == "FIRST"
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("generation 2 is applied")
        service.type("\x03")
        assert service.wait() == 0
    # Ctrl-C reaches the service once.
    assert "stopping: draining" in service.shown
    assert "stopping now" not in service.shown


DEBUGGED = """
from mpchat import Ping, WebsocketHandlerBase, daemon_main, minimal_server_component_list


class Debugged(WebsocketHandlerBase):
    name = "handler-chat"

    async def handle(self, chat, context):
        secret = int(await chat.recv())
        breakpoint()
        await chat.send(str(secret + 1))


components = minimal_server_component_list().append(Ping).append(Debugged)

if __name__ == "__main__":
    daemon_main(components)
"""


@pytest.fixture
def alone(watched: tuple[list[str], Path], control: Control) -> list[str]:
    """The command of a service in one process, whose handler has a breakpoint."""
    command, code = watched
    code.write_text(DEBUGGED)
    return [sys.executable, str(code), "--no-fork", "--config", command[-1]]


async def test_a_debugger_holds_nothing_else(
    alone: list[str], service_tmpdir: Path, control: Control, config_fallback_path: Path
) -> None:
    with OnTerminal(alone, service_tmpdir) as service:
        found = service.wait_for(r"pid (\d+): ws://localhost:(\d+)/chat, in this process alone\n")
        assert int(found[1]) == service.process.pid
        async with WebsocketClient(int(found[2])).get("chat") as chat:
            await chat.send("41")
            service.wait_for(r"\(Pdb\) ")
            # Whoever asks meanwhile has an answer.
            (worker,) = control.status()["workers"]
            assert (worker["pid"], worker["state"]) == (service.process.pid, "ready")
            for verb, arguments in (("restart", {}), ("scale", {"count": 2})):
                with pytest.raises(ControlError, match=f"{verb} needs a supervisor"):
                    control.ask(verb, **arguments)
            service.type("p secret\n")
            service.wait_for(r"41\n\(Pdb\) ")
            service.type("c\n")
            assert await chat.recv() == "42"
        config_fallback_path.write_text('{"MPCHAT_LIMITS": 7}')
        with pytest.raises(ControlError, match="MPCHAT_LIMITS: expected a mapping"):
            control.ask("reload")
        mistake = control.ask("dynamic-config")["reload_error"]["text"]
        assert mistake.startswith(f"{config_fallback_path}:1:")
        config_fallback_path.write_text('{"MPCHAT_LIMITS": {"max_connections": 7}}')
        assert control.ask("reload") == {"generation": 2}
        in_force = control.ask("dynamic-config")
        assert (in_force["generation"], in_force["reload_error"]) == (2, None)
        assert in_force["variables"]["MPCHAT_LIMITS"]["value"] == {"max_connections": 7}
        assert in_force["variables"]["MPCHAT_DRAIN"]["origin"] == "--dev or --no-fork"
        assert control.ask("kick", user="nobody") == {"connections": [], "silent": []}
        assert control.ask("connections", pid=1) == {"connections": [], "silent": [1]}
        service.process.send_signal(signal.SIGUSR2)
        service.wait_for(
            r"restart needs a supervisor, and this service runs without one \(--no-fork\)\n"
        )
        service.type("\x03")
        assert service.wait() == 0
    assert not control.path.exists()
    assert "handler-chat has held the event loop" not in service.shown


async def test_ctrl_c_ends_a_service_that_a_debugger_holds(
    alone: list[str], service_tmpdir: Path, control: Control
) -> None:
    with OnTerminal(alone, service_tmpdir) as service:
        port = int(service.wait_for(r"ws://localhost:(\d+)/chat")[1])
        async with WebsocketClient(port).get("chat") as chat:
            await chat.send("41")
            service.wait_for(r"\(Pdb\) ")
            service.type("\x03")
            service.wait_for("is it held by a debugger")
            service.type("\x03")
            assert service.wait() == 0
    assert not control.path.exists()


async def test_ctrl_c_need_not_interrupt_the_debugger(
    alone: list[str], service_tmpdir: Path
) -> None:
    with OnTerminal(alone, service_tmpdir) as service:
        port = int(service.wait_for(r"ws://localhost:(\d+)/chat")[1])
        async with WebsocketClient(port).get("chat") as chat:
            await chat.send("41")
            service.wait_for(r"\(Pdb\) ")
            # Another thread gets the signal, and the wait for the next line goes on.
            service.type("import signal\n")
            service.wait_for(r"\(Pdb\) ")
            service.type("p signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n")
            service.wait_for(r"set\(\)\n\(Pdb\) ")
            service.type("\x03")
            service.wait_for("is it held by a debugger")
            service.type("\x03")
            assert service.wait() == 0


async def test_an_author_may_take_a_signal(alone: list[str], service_tmpdir: Path) -> None:
    with OnTerminal(alone, service_tmpdir) as service:
        port = int(service.wait_for(r"ws://localhost:(\d+)/chat")[1])
        async with WebsocketClient(port).get("chat") as chat:
            await chat.send("41")
            service.wait_for(r"\(Pdb\) ")
            service.type("import asyncio, signal\n")
            service.wait_for(r"\(Pdb\) ")
            loop = "asyncio.get_running_loop()"
            service.type(f"p {loop}.add_signal_handler(signal.SIGUSR2, print, 'it is ours')\n")
            service.wait_for(r"None\n\(Pdb\) ")
            service.type("c\n")
            assert await chat.recv() == "42"
        service.process.send_signal(signal.SIGUSR2)
        service.wait_for("it is ours\n")
        service.type("\x03")
        assert service.wait() == 0
    assert "needs a supervisor" not in service.shown


def test_the_plugin_knows_it_as_any_service(alone: list[str], service_tmpdir: Path) -> None:
    service = Service(alone, service_tmpdir)
    try:
        service.wait_ready()
        assert service.ready_line.endswith("/chat, in this process alone")
        assert service.reload() == "one process, dynamic config generation 2"
        assert service.stop() == 0
    finally:
        service.close()


def test_a_component_that_fails_is_one_traceback(
    alone: list[str], service_tmpdir: Path, watched: tuple[list[str], Path]
) -> None:
    _command, code = watched
    failing = "    async def start(self):\n        raise LookupError('no database')\n\n"
    code.write_text(DEBUGGED.replace("    async def handle", f"{failing}    async def handle"))
    result = subprocess.run(
        alone, cwd=service_tmpdir, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 70
    assert result.stderr.count("Traceback") == 1
    assert "\nLookupError: no database\n" in result.stderr
    assert result.stderr.endswith("component handler-chat failed to start: no database\n")
    assert "mpchat/" not in result.stderr
