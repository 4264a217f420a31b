"""userver's handlers in the console, and ours of that kind: what they answer, and what that does."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mpchat.ipc.control import ControlError
from mpchat.testsuite.clients import HttpResponse, ServiceClient, WebsocketClient
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.logs import parse_tskv
from mpchat.testsuite.service import Service
from tests.functional.conftest import Serve
from tests.functional.test_console import ask, port_of
from tests.kit.control import Control
from tests.kit.raw import handshake
from tests.kit.verbs import Mpchat
from tests.kit.waiting import eventually

pytestmark = pytest.mark.shared_service

MONITOR = "/service/monitor"
LEVEL = "/service/log-level/"
DEBUG_LOG = "/service/log/dynamic-debug"
INSPECT = "/service/inspect-requests"
ROTATE = "/service/on-log-rotate/"
CONFIG = "/service/dynamic-config"
ALL = {"DEBUG", "INFO", "WARNING"}

APP = """
import asyncio
import logging
import os
from pathlib import Path

from mpchat import HttpHandlerBase, WebsocketHandlerBase, default_component_list, response

log = logging.getLogger("talk.deep")


class Talk(HttpHandlerBase):
    name = "handler-talk"

    async def handle_request(self, request, context):
        token = request.query["token"]
        for say in (log.debug, log.info, log.warning):
            say("said %s", token)
        logging.getLogger("mark").critical("mark %s", token)
        return response(200, str(os.getpid()))


class Waiting(HttpHandlerBase):
    name = "handler-waiting"

    async def handle_request(self, request, context):
        Path("waiting").touch()
        await asyncio.sleep(3600)


class Doorman(WebsocketHandlerBase):
    name = "handler-doorman"

    async def handle_handshake(self, request, context):
        Path("thinking").touch()
        await asyncio.sleep(3600)

    async def handle(self, chat, context):
        pass


components = default_component_list()
for cls in (Talk, Waiting, Doorman):
    components.append(cls)
"""


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "waiting_service.py").write_text(APP)
    return [*service_command, "--app", "waiting_service:components"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    manager = service_config_yaml["components_manager"]
    manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
    components = manager["components"]
    components["server"]["listener-monitor"] = {"port": 0}
    components["logging"]["loggers"]["default"]["level"] = "info"
    components |= {
        "handler-server-monitor": {"path": MONITOR, "common-labels": {"host": "a"}},
        "handler-metrics": {"path": "/metrics"},
        "handler-log-level": {"path": f"{LEVEL}{{level}}", "method": "GET,PUT"},
        "handler-dynamic-debug-log": {"path": DEBUG_LOG, "method": "GET, PUT, DELETE"},
        "handler-inspect-requests": {"path": INSPECT},
        "handler-on-log-rotate": {"path": ROTATE, "method": "POST"},
        "handler-dynamic-config": {"path": CONFIG, "method": "GET"},
        "handler-talk": {"path": "/talk"},
        "handler-waiting": {"path": "/wait/{id}", "method": "POST"},
        "handler-doorman": {
            "path": "/door",
            "handshake-timeout": "1h",
            "subprotocols": ["chat"],
        },
    }
    return service_config_yaml


@pytest.fixture
def console(supervisor: Service, control: Control) -> ServiceClient:
    return ServiceClient(port_of(control))


async def heard(service: Service, control: Control) -> set[str]:
    """Return the levels of the lines that every worker writes of the author's logger."""
    client = ServiceClient(service.port)
    missing, found = control.ready(), set()
    for _ in range(1000):
        if not missing:
            break
        token = secrets.token_hex(8)
        pid = int((await client.get("/talk", params={"token": token})).text)
        if pid in missing:
            # The last of the lines; they come in order.
            await eventually(lambda: f"mark {token}\n" in service.stderr(), "line of the mark")  # noqa: B023
            records = [parse_tskv(line) for line in service.stderr().splitlines() if token in line]
            found.add(frozenset(r["level"] for r in records if r["text"] == f"said {token}"))
            missing.discard(pid)
    assert not missing
    (levels,) = found
    return set(levels)


def levels_of(answer: HttpResponse) -> tuple[str, str]:
    assert answer.status == 200, answer.text
    assert answer.text.endswith("}\n")
    found = answer.json()
    return found["init-log-level"], found["current-log-level"]


async def test_a_level_changes_in_every_process_and_later_ones(
    console: ServiceClient, supervisor: Service, control: Control
) -> None:
    shown = await console.get(LEVEL)
    assert shown.text == '{"init-log-level":"info","current-log-level":"info"}\n'
    assert shown.headers["content-type"].startswith("application/json")
    assert await heard(supervisor, control) == {"INFO", "WARNING"}
    talk = "?logger=talk.deep"
    assert levels_of(await console.put(f"{LEVEL}DEBUG{talk}")) == ("info", "debug")
    assert await heard(supervisor, control) == ALL
    await asyncio.to_thread(control.restart, 0)
    assert await heard(supervisor, control) == ALL
    assert levels_of(await console.put(f"{LEVEL}none{talk}")) == ("info", "none")
    assert await heard(supervisor, control) == set()
    assert levels_of(await console.get(f"{LEVEL}{talk}")) == ("info", "none")
    # Without the slash as well, and for other loggers nothing has changed.
    assert levels_of(await console.get(LEVEL.rstrip("/"))) == ("info", "info")
    assert levels_of(await console.put(f"{LEVEL}reset{talk}")) == ("info", "info")
    assert await heard(supervisor, control) == {"INFO", "WARNING"}


async def test_levels_that_make_no_sense_are_answered_as_userver_does(
    console: ServiceClient,
) -> None:
    answer = await console.get(f"{LEVEL}debug")
    assert (answer.status, answer.text) == (
        400,
        "unexpected level 'debug': GET shows the level, PUT changes it\n",
    )
    for wrong in ("loud", ""):
        answer = await console.put(f"{LEVEL}{wrong}")
        assert answer.status == 500
        assert answer.text.startswith("expected trace, debug, info, warning, error, critical, none")
    assert (await console.put(f"{LEVEL}info?logger={'x' * 201}")).status == 400


async def test_a_logger_is_forced_on_and_off_whatever_its_level(
    console: ServiceClient, supervisor: Service, control: Control
) -> None:
    await console.put(f"{LEVEL}error?logger=talk.deep")
    assert await heard(supervisor, control) == set()

    async def force(location: str, body: str) -> None:
        answer = await console.put(f"{DEBUG_LOG}?location={location}", data=body)
        assert (answer.status, answer.text) == (200, "OK\n")

    await force("talk", "")
    assert await heard(supervisor, control) == ALL
    await asyncio.to_thread(control.restart, 1)
    assert await heard(supervisor, control) == ALL
    assert (await console.get(f"{DEBUG_LOG}?location=talk.deep")).text == "1\n"
    await force("talk", "-1")
    assert await heard(supervisor, control) == {"WARNING"}
    lines = (await console.get(DEBUG_LOG)).text.splitlines()
    assert {"default\t0", "talk.deep\t-1", "mpchat.handlers.handler-talk\t0"} <= set(lines)
    await force("talk.deep", "0")
    assert await heard(supervisor, control) == set()
    assert (await console.get(f"{DEBUG_LOG}?location=talk")).text == "-1\n"
    answer = await console.delete(f"{DEBUG_LOG}?location=talk")
    assert (answer.status, answer.text) == (200, "OK\n")
    assert (await console.get(f"{DEBUG_LOG}?location=talk")).text == "0\n"
    await console.put(f"{LEVEL}reset?logger=talk.deep")
    assert await heard(supervisor, control) == {"INFO", "WARNING"}


@pytest.mark.parametrize(
    ("method", "location", "body", "status", "told"),
    [
        ("GET", "no.such", None, 404, "Location not found\n"),
        ("PUT", "talk.deep:12", "1", 400, "without the number of a line"),
        ("PUT", "x" * 201, "1", 400, "at most 200 printable characters"),
        ("PUT", "talk%0A", "1", 400, "at most 200 printable characters"),
        ("PUT", "talk", "2", 500, "expected 1, -1, 0 or nothing in the body, got '2'"),
    ],
)
async def test_locations_that_make_no_sense_are_refused(
    console: ServiceClient, method: str, location: str, body: str | None, status: int, told: str
) -> None:
    answer = await console.request(method, f"{DEBUG_LOG}?location={location}", data=body)
    assert answer.status == status
    assert told in answer.text


@asynccontextmanager
async def sent(port: int, data: bytes) -> AsyncIterator[None]:
    """A client that has sent this and waits, then resets the connection."""
    _reader, writer = await asyncio.open_connection("localhost", port)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.write(data)
    try:
        yield
    finally:
        writer.close()
        await writer.wait_closed()


WAIT = (
    b"POST /wait/7?a=1&a=2&ticket=s3cret HTTP/1.1\r\nHost: service\r\nX-A: b\r\n"
    b"Authorization: Bearer s3cret\r\nCookie: who=s3cret\r\nContent-Length: 5\r\n\r\nhello"
)
DOOR = handshake("/door", "Sec-WebSocket-Protocol: chat, base64url.bearer.s3cret")


async def test_requests_in_flight_come_first_then_connections(
    console: ServiceClient, supervisor: Service, service_tmpdir: Path
) -> None:
    async with (
        WebsocketClient(supervisor.port).get("chat?x=y", additional_headers={"X-C": "d"}) as chat,
        sent(supervisor.port, WAIT),
        sent(supervisor.port, DOOR),
    ):
        for name in ("waiting", "thinking"):
            await eventually((service_tmpdir / name).exists, name)
        answer = await console.get(f"{INSPECT}?body=1")
        assert "s3cret" not in answer.text
        *first, last = answer.json()
        by_path = {row["request_path"]: row for row in first}
        assert set(by_path) == {"/wait/7", "/door"}
        waiting = by_path["/wait/7"]
        assert waiting.pop("handling-duration-ms") >= 0
        at = datetime.strptime(
            waiting.pop("start-handling-timestamp"), "%a, %d %b %Y %H:%M:%S UTC"
        ).replace(tzinfo=UTC)
        assert abs((datetime.now(UTC) - at).total_seconds()) < 600
        assert waiting == {
            "method": "POST",
            "url": "/wait/7?a=1&a=2&ticket=***",
            "http_version": "1.1",
            "host": "service",
            "request_path": "/wait/7",
            "args": {"a": ["1", "2"], "ticket": ["***"]},
            "headers": {
                "Host": "service",
                "X-A": "b",
                "Authorization": "***",
                "Cookie": "***",
                "Content-Length": "5",
            },
            "request-body": "hello",
        }
        offers = by_path["/door"]["headers"]["Sec-WebSocket-Protocol"]
        assert offers == "chat, base64url.bearer.***"
        assert (last["url"], last["headers"]["X-C"]) == ("/chat?x=y", "d")
        assert last["request-body"] == ""
        assert "x-silent-workers" not in answer.headers
        assert "request-body" not in (await console.get(INSPECT)).json()[0]
        await chat.send("still there")
        assert await chat.recv() == "still there"

    await eventually(lambda: ask(console.port, "GET", INSPECT)[1] == "[]\n", "an empty list")
    head = await console.request("HEAD", INSPECT)
    assert (head.status, head.content) == (200, b"")


async def test_the_dynamic_config_is_shown_with_its_origins(
    console: ServiceClient,
    control: Control,
    mpchat: Mpchat,
    dynamic_config: DynamicConfig,
    config_fallback_path: Path,
) -> None:
    await asyncio.to_thread(dynamic_config.set, MPCHAT_LIMITS={"max_connections": 9}, THEIRS=[1])

    def shown() -> Any:
        return json.loads(ask(console.port, "GET", CONFIG)[1])

    # The console is told right after whoever has asked for the reload.
    generation = control.status()["generation"]
    await eventually(lambda: shown()["generation"] == generation, "the new generation")
    found = shown()
    assert datetime.fromisoformat(found["since"]).tzinfo is not None
    assert (found["reload_error"], found["restart_error"]) == (None, None)
    limits, theirs = found["variables"]["MPCHAT_LIMITS"], found["variables"]["THEIRS"]
    assert limits["value"] == {"max_connections": 9}
    assert re.fullmatch(rf"{re.escape(str(config_fallback_path))}:\d+:\d+", limits["origin"])
    assert (theirs["value"], theirs["declared"]) == ([1], False)
    untouched = {"interval_ms": None, "timeout_ms": None}
    keepalive = {"value": untouched, "origin": "default", "declared": True}
    assert found["variables"]["MPCHAT_KEEPALIVE"] == keepalive

    show = ("config", "show", "--dynamic", "--socket", str(control.path))
    printed = await asyncio.to_thread(mpchat, *show, "--json")
    assert json.loads(printed.stdout) == {"running": True, **found}

    good = config_fallback_path.read_text()
    config_fallback_path.write_text('{"USERVER_LOG_REQUEST": 1}')
    with pytest.raises(ControlError):
        await asyncio.to_thread(control.ask, "reload")
    await eventually(lambda: shown()["reload_error"] is not None, "the mistake")
    failed = shown()
    mistake = f"{config_fallback_path}:1:25: USERVER_LOG_REQUEST: expected true or false, got 1"
    assert failed["reload_error"]["text"] == mistake
    assert failed["variables"] == found["variables"]
    text = (await asyncio.to_thread(mpchat, *show)).stdout
    assert text.splitlines()[0] == f"# in force: what the service at {control.path} has loaded"
    assert f"#     {mistake}\n" in text
    assert re.search(r"\nMPCHAT_LIMITS: \{\"max_connections\": 9\} +# /.*:\d+:\d+\n", text)
    config_fallback_path.write_text(good)
    await asyncio.to_thread(control.ask, "reload")
    await eventually(lambda: shown()["reload_error"] is None, "the end of the error")


async def test_metrics_are_shown_for_prometheus(
    console: ServiceClient, supervisor: Service
) -> None:
    await ServiceClient(supervisor.port).get("/ping")

    def pings(text: str) -> float:
        """Return how many requests to the ping handler were answered with 200."""
        families = text_string_to_metric_families(text)
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "http_handler_reply_codes_total"
            and (sample.labels["http_handler"], sample.labels["http_code"])
            == ("handler-ping", "200")
        )

    await eventually(lambda: pings(ask(console.port, "GET", "/metrics")[1]) > 0, "count of pings")
    answer = await console.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "# HELP mpchat_limits_total Clients turned away" in answer.text
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await console.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.covers("ServerMonitorOptions.common-labels")
async def test_metrics_are_shown_as_userver_does(console: ServiceClient) -> None:
    answer = await console.get(f"{MONITOR}?format=json&path=engine.uptime-seconds")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    (uptime,) = answer.json()["engine.uptime-seconds"]
    assert uptime.pop("value") > 0
    assert uptime == {"labels": {"host": "a"}, "type": "GAUGE"}
    answer = await console.get(f"{MONITOR}?format=prometheus&prefix=engine.up")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    first, second = answer.text.splitlines()
    assert first == "# TYPE engine_uptime_seconds gauge"
    assert second.startswith('engine_uptime_seconds{host="a"} ')
    for query, told in (
        ("", "no format: give the parameter format, of which there are prometheus and json\n"),
        ("?format=solomon", "no format is called solomon: there are prometheus and json\n"),
        ("?format=json&path=a&prefix=b", "prefix and path differ: give one of them\n"),
    ):
        answer = await console.get(f"{MONITOR}{query}")
        assert (answer.status, answer.text) == (400, told)


@pytest.mark.covers("ServerMonitorOptions.format")
async def test_a_format_may_be_the_usual_one(serve: Serve, control: Control) -> None:
    with serve({"handler-server-monitor.format": "json"}):
        answer = await ServiceClient(port_of(control)).get(f"{MONITOR}?path=mpchat.info")
        assert answer.json()["mpchat.info"][0]["value"] == 1


async def test_what_is_no_handler_s_is_answered_in_words(console: ServiceClient) -> None:
    answer = await console.get("/nowhere")
    assert (answer.status, answer.text) == (404, "nothing is served on this path\n")
    answer = await console.get(ROTATE)
    assert (answer.status, answer.text) == (405, "GET is not allowed on this path, but POST\n")
    assert answer.headers["allow"] == "POST"
    assert (await console.post(DEBUG_LOG)).headers["allow"] == "DELETE, GET, HEAD, PUT"
    for answer in (await console.get("/nowhere"), await console.get(INSPECT)):
        assert answer.headers["cache-control"] == "no-store"


async def test_logs_that_cannot_be_opened_again_are_named(
    serve: Serve, control: Control, service_tmpdir: Path
) -> None:
    folder = service_tmpdir / "logs"
    folder.mkdir()
    loggers = {
        "default": {"file_path": "@stderr"},
        "own": {"file_path": str(folder / "own.log")},
    }
    with serve({"logging.loggers": loggers}) as service:
        console = ServiceClient(port_of(control))
        answer = await console.post(ROTATE)
        assert (answer.status, answer.text) == (200, "")
        folder.rename(service_tmpdir / "away")
        answer = await console.post(ROTATE.rstrip("/"))
        assert answer.status == 500
        # The only process that has opened it so far.
        reason = f"cannot reopen the log {folder / 'own.log'}: No such file or directory"
        assert answer.text == f"template: {reason}; still writing to the old file\n"
        assert service.process.poll() is None
