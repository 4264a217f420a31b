"""What the service logs: about which connection, how loud, and where to."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.service import ServiceFailed, wait_until
from tests.functional.conftest import Serve
from tests.kit.lines import read_line
from tests.kit.raw import HANDLERS, handshake
from tests.kit.talk import APP, LINES, talkers
from tests.kit.waiting import eventually


@pytest.fixture(autouse=True)
def handlers(service_tmpdir: Path) -> None:
    shutil.copy(HANDLERS, service_tmpdir)


@pytest.mark.covers("ServerOptions.logger_access")
async def test_lines_of_connections_go_to_the_access_log(
    serve: Serve, service_tmpdir: Path
) -> None:
    options = {
        "logging.loggers": {
            "default": {"file_path": "own.log", "level": "debug"},
            "access": {"file_path": "access.log", "format": "raw"},
        },
        "server.logger_access": "access",
        "handler-ping.log-level": "warning",
    }
    with serve(options) as service:
        client = ServiceClient(service.port)
        await client.get("/ping")
        await client.get("/nowhere")
        async with WebsocketClient(service.port).get("chat") as chat:
            await chat.send("1")
            await chat.recv()
        with socket.create_connection(("localhost", service.port)) as garbage:
            garbage.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
            assert garbage.recv(1000).startswith(b"HTTP/1.1 400 ")
        access = service_tmpdir / "access.log"
        await eventually(lambda: access.read_text().count("\n") >= 4, "four lines")
    shapes = [
        r"GET /nowhere 404 from (127\.0\.0\.1|\[::1\]):\d+: nothing is served on this path",
        r"GET /chat 101 from .*",
        r"closed 1000 after \d+\.\d{3} s",
        r"no request: 400, malformed request line, from .*",
    ]
    lines = access.read_text().splitlines()
    assert len(lines) == len(shapes)
    for shape in shapes:
        assert any(re.fullmatch(shape, line) for line in lines), shape
    assert "GET " not in (service_tmpdir / "own.log").read_text()


def test_the_access_log_must_be_a_logger(serve: Serve) -> None:
    with pytest.raises(ServiceFailed) as caught, serve({"server.logger_access": "acess"}):
        pass
    assert caught.value.exit_code == 78
    assert (
        "components.server.logger_access: expected one of default, got acess" in caught.value.stderr
    )


@pytest.mark.covers("LoggerOptions.flush_level")
async def test_lines_below_the_flush_level_wait_for_company(
    serve: Serve, service_tmpdir: Path
) -> None:
    path = service_tmpdir / "own.log"
    options = talkers(file_path="own.log", flush_level="critical") | {
        "task_processors.main-task-processor.worker_threads": 1
    }
    with serve(options, *APP) as service:
        async with WebsocketClient(service.port).get("chat") as chat:
            last, held_back = "", False
            deadline = time.monotonic() + 30
            for count in itertools.count(1):
                await chat.send(str(LINES))
                await chat.recv()
                # The client has its answer; is the last line in the file already?
                last = f"\ttext=line {count * LINES - 1} "
                held_back = last not in path.read_text()
                if held_back or time.monotonic() > deadline:
                    break
            assert held_back
            await eventually(lambda: last in path.read_text(), "the last line")


async def test_what_a_handler_logs_says_which_connection(
    serve: Serve, service_tmpdir: Path
) -> None:
    options = talkers(file_path="own.log", level="debug") | {
        "handler-failing": {"path": "/failing"},
        "handler-broken": {"path": "/broken"},
    }
    path = service_tmpdir / "own.log"
    with serve(options, *APP) as service:
        client = WebsocketClient(service.port)
        async with client.get("chat") as chat:
            await chat.send("3")
            await chat.recv()
        async with client.get("failing") as chat:
            await chat.send("question")
            await chat.wait_closed()
        assert (await ServiceClient(service.port).get("/broken")).status == 500
        await eventually(lambda: path.read_text().count("closed 10") == 2, "ends of connections")
        await wait_for_line(path, "GET /broken 500")
    lines = [read_line("tskv", line) for line in path.read_bytes().splitlines(keepends=True)]
    about: dict[str, list[str]] = {}
    for line in lines:
        if "connection" in line:
            about.setdefault(line["connection"], []).append(line["text"].partition("\n")[0])
    found = {re.sub(r"\d+", "N", "; ".join(texts)) for texts in about.values()}
    ends = "closed N after N.N s"
    shapes = [
        rf"GET /chat N from .*; line N \[\]; line N \[.*; line N \[.*; {ends}",
        rf"GET /failing N from .*; the handler failed; {ends}",
        r"the handler failed; GET /broken N from .*",
    ]
    for shape in shapes:
        assert any(re.fullmatch(shape, texts) for texts in found), (shape, found)
    assert len(about) == len(shapes)
    tracebacks = [line["text"] for line in lines if "Traceback" in line["text"]]
    assert sorted(text.rpartition("\n")[2] for text in tracebacks) == [
        "LookupError: no answer to 'question'",
        "LookupError: no such page",
    ]


async def wait_for_line(path: Path, text: str) -> None:
    await eventually(lambda: text in path.read_text(), text)


async def test_mistakes_of_clients_are_no_tracebacks(serve: Serve, service_tmpdir: Path) -> None:
    path = service_tmpdir / "own.log"
    mistakes = {
        b"\x16\x03\x01\r\n\r\n": "no request: 400",
        b"POST /chat HTTP/1.1\r\nHost: a\r\n\r\n": "POST /chat 405",
        handshake("/chat") + b"\x81\x00": "closing with 1002",
        handshake("/chat") + b"\x81\x81\0\0\0\0\xff": "closing with 1007",
        handshake("/chat"): "closed 1006",
    }
    with serve(talkers(file_path="own.log", level="debug"), *APP) as service:
        for mistake, text in mistakes.items():
            with socket.create_connection(("localhost", service.port)) as client:
                client.sendall(mistake)
                client.recv(1000)
            await wait_for_line(path, text)
    lines = [read_line("tskv", line) for line in path.read_bytes().splitlines(keepends=True)]
    of_workers = [line for line in lines if line["worker"].startswith("main-")]
    assert {line["level"] for line in of_workers} <= {"INFO", "DEBUG"}
    assert "Traceback" not in path.read_text()


CRASHING_APP = """
import os
from mpchat import WebsocketHandlerBase, minimal_server_component_list

class Crashing(WebsocketHandlerBase):
    name = "websocket-handler"

    async def start(self):
        if os.path.exists("crash"):
            deep(200)

    async def handle(self, chat, context):
        pass

def deep(depth):
    other(depth - 1) if depth else {}["the room"]

def other(depth):
    deep(depth)

components = minimal_server_component_list().append(Crashing)
"""


async def test_last_words_of_a_worker_are_whole(serve: Serve, service_tmpdir: Path) -> None:
    (service_tmpdir / "crashing.py").write_text(CRASHING_APP)
    options = {
        "handler-ping": None,
        "task_processors.main-task-processor.worker_threads": 1,
        "logging.loggers.default": {"file_path": "own.log", "format": "json"},
    }
    path = service_tmpdir / "own.log"
    with serve(options, "--app", "crashing:components") as service:
        (service_tmpdir / "crash").touch()
        os.kill(service.pids("worker")[0], signal.SIGKILL)
        await eventually(lambda: path.read_text().count("KeyError: 'the room'") >= 1, "last words")
    texts = [read_line("json", line)["text"] for line in path.read_bytes().splitlines(True)]
    first = texts.index("Traceback (most recent call last):")
    assert re.fullmatch(r"worker main-task-processor/0 pid \d+: exit status 1", texts[first - 1])
    words = texts[first : texts.index("KeyError: 'the room'")]
    assert sum(line.startswith("  File") for line in words) > 400


async def test_the_monitor_says_what_it_does_when_the_supervisor_is_gone(
    serve: Serve, service_tmpdir: Path
) -> None:
    path = service_tmpdir / "own.log"
    with serve(talkers(file_path="own.log"), *APP) as service:
        frozen = service.pids("worker")[0]
        service.freeze(frozen)
        service.process.kill()
        expected = f"pid {frozen} is killed: it outlived the supervisor"
        await eventually(lambda: expected in path.read_text(), "its line")
    lines = [read_line("tskv", line) for line in path.read_bytes().splitlines(keepends=True)]
    said = [line for line in lines if line["worker"] == "monitor"]
    first, *killed = [(line["level"], line["module"]) for line in said]
    assert first == ("ERROR", "mpchat.monitor")
    # On a busy machine another worker may not have ended in time, either.
    assert set(killed) == {("WARNING", "mpchat.monitor")}


async def test_the_dynamic_config_goes_before_a_handler_s_own_level(
    serve: Serve, service_tmpdir: Path, config_fallback_path: Path
) -> None:
    path = service_tmpdir / "own.log"
    options = {
        "handler-ping.log-level": "error",
        "logging.loggers": {"default": {"file_path": "own.log"}},
    }
    name = "mpchat.handlers.handler-ping"
    debug = {"USERVER_LOG_DYNAMIC_DEBUG": {"force-enabled-level": {name: "INFO"}}}
    config_fallback_path.write_text(json.dumps(debug))
    with serve(options) as service:
        client = ServiceClient(service.port)
        await client.get("/ping")
        await eventually(lambda: "GET /ping" in path.read_text(), "line")
        config_fallback_path.write_text("{}")
        await asyncio.to_thread(service.reload)
        await client.request("HEAD", "/ping")
        await client.get("/nowhere")
        await eventually(lambda: "GET /nowhere" in path.read_text(), "line")
    assert "HEAD /ping" not in path.read_text()


def test_options_of_userver_s_loggers_are_known(serve: Serve) -> None:
    default = {
        "file_path": "@stderr",
        "testsuite-capture": {"host": "localhost", "port": 1},
        "fs-task-processor": "fs-task-processor",
        "flush_queue_size": 128,
        "truncate-on-start": False,
    }
    with serve({"logging.loggers.default": default}) as service:
        text = wait_until(service.stderr, "log")
    assert text.count("without effect") == 1
    for option in ("testsuite-capture", "fs-task-processor", "flush_queue_size"):
        assert f"logging.loggers.default.{option}" in text
