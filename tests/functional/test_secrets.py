"""What clients send in confidence is in no log, whatever happens to it, and in no operator's list."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import Serve
from tests.kit.control import Control
from tests.kit.raw import HANDLERS
from tests.kit.requests import plain, shake
from tests.kit.talk import APP
from tests.kit.waiting import eventually

SECRET = "c0nf1dent1al"
HIDDEN = [
    f"Cookie: session={SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"Sec-WebSocket-Protocol: token-{SECRET}",
    f"X-Api-Key: {SECRET}",
    f"Referer: http://localhost/?{SECRET}",
]
# Masked with zeroes, so as they are: two messages and a Close.
FRAMES = b"".join(
    bytes([first, 0x80 + len(payload)]) + bytes(4) + payload
    for first, payload in [
        (0x81, SECRET.encode()),
        (0x82, SECRET.encode()),
        (0x88, (4000).to_bytes(2, "big")),
    ]
)
REQUESTS = {
    "101": shake(f"GET /slow?token={SECRET} HTTP/1.1", *HIDDEN) + FRAMES,
    "403": shake(f"GET /rooms/a?token={SECRET} HTTP/1.1", *HIDDEN),
    "403 origin": shake(f"GET /slow?{SECRET} HTTP/1.1", *HIDDEN, f"Origin: http://{SECRET}"),
    "404": plain(f"GET /nowhere?{SECRET} HTTP/1.1", *HIDDEN),
    "405": plain(f"DELETE /broken?{SECRET} HTTP/1.1", *HIDDEN),
    "500": plain(f"GET /broken?{SECRET} HTTP/1.1", *HIDDEN),
    "504": shake(f"GET /undecided?{SECRET} HTTP/1.1", *HIDDEN),
    "400 target": plain(f"GET http://name:{SECRET}@localhost/broken?{SECRET} HTTP/1.1", *HIDDEN),
    "400 fragment": plain(f"GET /broken#{SECRET} HTTP/1.1", *HIDDEN),
    "400 line": plain(f"GET /broken?{SECRET} {SECRET} HTTP/1.1", *HIDDEN),
    "400 field": plain(f"GET /broken?{SECRET} HTTP/1.1", f"{SECRET} : {SECRET}", *HIDDEN),
    "400 host": plain(f"GET /broken?{SECRET} HTTP/1.1", *HIDDEN, host=f"{SECRET} x"),
    "400 key": shake("GET /slow HTTP/1.1", *HIDDEN, sec_websocket_key=SECRET),
    "400 protocol": shake("GET /slow HTTP/1.1", f"Sec-WebSocket-Protocol: {SECRET} x"),
    "426": shake(f"GET /slow?{SECRET} HTTP/1.1", *HIDDEN, sec_websocket_version=SECRET),
    "431": plain(f"GET /slow?{SECRET} HTTP/1.1", *[f"X: {SECRET}"] * 101),
    "414": plain(f"GET /slow?{SECRET * 9000} HTTP/1.1", *HIDDEN),
    "505": plain(f"GET /slow?{SECRET} HTTP/5.0", *HIDDEN),
}


@pytest.mark.parametrize("log_format", ["tskv", "ltsv", "json", "raw"])
async def test_nothing_secret_is_in_any_log(
    serve: Serve,
    control: Control,
    service_tmpdir: Path,
    config_fallback_path: Path,
    log_format: str,
) -> None:
    shutil.copy(HANDLERS, service_tmpdir)
    config_fallback_path.write_text(json.dumps({"USERVER_LOG_REQUEST_HEADERS": True}))
    loggers: dict[str, dict[str, Any]] = {
        name: {"file_path": f"{name}.log", "format": log_format, "level": "trace"}
        for name in ("default", "access", "asyncio", "mpchat.websocket.control")
    }
    options = {
        "logging.loggers": loggers,
        "server.logger_access": "access",
        "websocket-handler": None,
        "handler-ping": None,
        "handler-slow": {"path": "/slow"},
        "handler-guarded": {"path": "/rooms/{room}"},
        "handler-broken": {"path": "/broken"},
        "handler-undecided": {"path": "/undecided", "handshake-timeout": "100ms"},
    }
    with serve(options, *APP) as service:
        for name, data in REQUESTS.items():
            reader, writer = await asyncio.open_connection("localhost", service.port)
            writer.write(data)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            assert answer.startswith(f"HTTP/1.1 {name[:3]} ".encode()), name
            if name == "101":
                listed = control.connections()
            writer.close()
            await writer.wait_closed()
        access = service_tmpdir / "access.log"
        await eventually(
            lambda: (
                len(re.findall(r" from \S+:\d+", access.read_text())) == len(REQUESTS)
                and "closed 4000" in access.read_text()
            ),
            "lines of all requests",
        )
        assert "/slow" in json.dumps(listed)
        assert SECRET not in json.dumps(listed)
    assert "Cookie: ***" in access.read_text()
    assert "LookupError: no such page" in (service_tmpdir / "default.log").read_text()
    logs = [*service_tmpdir.glob("*.log")]
    assert len(logs) >= 5
    assert [path.name for path in logs if SECRET in path.read_text()] == []
