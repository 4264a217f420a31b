"""The examples of the documentation, run as readers would: own file, own config, a real client."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.service import Service

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"
MAX_LINES = 60
PYTEST_INI = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


@pytest.fixture
def service_binary(example: str) -> str:
    path = EXAMPLES / example
    return str(path / "main.py" if path.is_dir() else path.with_suffix(".py"))


@pytest.fixture
def service_config_path(example: str) -> Path:
    path = EXAMPLES / example
    return path / "static_config.yaml" if path.is_dir() else path.with_suffix(".yaml")


@pytest.fixture
def service_tmpdir(service_tmpdir: Path) -> Path:
    """Also has the files that configs name."""
    for path in EXAMPLES.glob("*.json"):
        shutil.copy(path, service_tmpdir)
    return service_tmpdir


@pytest.fixture
def service_env() -> dict[str, str]:
    return {"COOKIE_KEY": "0123456789abcdef0123456789abcdef"}


@pytest.mark.parametrize("example", ["echo", "websocket_service"])
async def test_echo(websocket_client: WebsocketClient) -> None:
    async with websocket_client.get("chat") as chat:
        for message in ("hello", b"\x00\xff", "", "x" * 50_000):
            await chat.send(message)
            assert await chat.recv() == message
    assert chat.close_code == 1000


@pytest.mark.parametrize("example", ["websocket_service"])
async def test_the_sample_is_the_service_of_its_configs(
    supervisor: Service, dynamic_config: DynamicConfig, websocket_client: WebsocketClient
) -> None:
    assert supervisor.ready_line.endswith("/chat, 4 workers")
    assert dynamic_config.get("USERVER_LOG_REQUEST") is True
    async with websocket_client.get("chat") as chat:
        await chat.send("x" * 100_001)
        with pytest.raises(ConnectionClosedError) as caught:
            await chat.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009
    warnings = [line for line in supervisor.stderr().splitlines() if "WARNING" in line]
    assert [line for line in warnings if "runs as root" not in line] == []


@pytest.mark.parametrize("example", ["auth"])
async def test_auth(
    websocket_client: WebsocketClient, service_client: ServiceClient, supervisor: Service
) -> None:
    ada, bob = ({"Authorization": f"Bearer {token}"} for token in ("secret", "bob"))

    async def refusal(path: str, **headers: str) -> int:
        with pytest.raises(InvalidStatus) as caught:
            await websocket_client.get(path, additional_headers=headers).__aenter__()
        return caught.value.response.status_code

    assert await refusal("rooms/blue") == 401
    assert await refusal("rooms/blue", Authorization="Bearer wrong") == 401
    assert await refusal("rooms/staff", **bob) == 403
    answer = await service_client.post("ticket", headers=bob)
    path = f"rooms/blue?ticket={answer.json()['ticket']}"
    async with (
        websocket_client.get("rooms/staff", additional_headers=ada) as staff,
        websocket_client.get(path) as page,
    ):
        assert staff.response is not None
        assert staff.response.headers["X-Room"] == "staff"
        assert await staff.recv() == "welcome to staff, ada"
        assert await page.recv() == "welcome to blue, bob"
        await page.send("/kick ada")
        assert await page.recv() == "/kick ada"
        await staff.send("/kick bob")
        with pytest.raises(ConnectionClosedError) as caught:
            await page.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4401, "kicked")
        assert await staff.recv() == "1 closed"
    assert await refusal(path) == 401
    assert "secret" not in supervisor.stderr()


@pytest.mark.parametrize("example", ["ticker"])
async def test_ticker(websocket_client: WebsocketClient, supervisor: Service) -> None:
    async with websocket_client.get("ticks") as chat, asyncio.timeout(30):
        await chat.send("0.01")
        assert [await chat.recv() for _ in range(20)] == [str(number) for number in range(1, 21)]
        await chat.send("soon")
        with pytest.raises(ConnectionClosedError) as caught:
            while True:
                await chat.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (
        1008,
        "expected a number of seconds",
    )
    async with websocket_client.get("ticks") as chat:
        assert await chat.recv() == "1"
    assert await asyncio.to_thread(supervisor.stop) == 0
    # Nobody waits for the next tick of a client that has left.
    assert supervisor.stderr().count("closed 1000 after") == 1
    assert "Traceback" not in supervisor.stderr()


@pytest.mark.parametrize("example", ["blocking"])
async def test_blocking_work(websocket_client: WebsocketClient) -> None:
    digest = hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 200_000)
    async with websocket_client.get("digests") as text, websocket_client.get("digests") as binary:
        await text.send("password")
        await binary.send(b"password")
        assert await text.recv() == await binary.recv() == digest.hex()


@pytest.mark.parametrize("example", ["poll/poll"])
async def test_poll(websocket_client: WebsocketClient, service_client: ServiceClient) -> None:
    page = await service_client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "/votes" in page.text
    async with websocket_client.get("votes") as one, websocket_client.get("votes") as other:
        assert await one.recv() == await other.recv() == "{}"
        answer = await service_client.post("/votes", {"choice": "tea"})
        assert (answer.status, answer.json()) == (200, {"tea": 1})
        assert await one.recv() == await other.recv() == '{"tea": 1}'
        await one.close()
        wrong = await service_client.post("/votes", {"choice": "milk"})
        assert (wrong.status, wrong.json()["details"]["errors"][0]["place"]) == (400, "choice")
        large = await service_client.post("/votes", {"choice": "x" * 1000})
        assert large.status == 413
    assert (await service_client.get("/votes")).status == 426


@pytest.mark.parametrize("example", ["chat/chat"])
async def test_chat(websocket_client: WebsocketClient, service_client: ServiceClient) -> None:
    page = await service_client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == "default-src 'self'"
    for name, kind in (("room.js", "javascript"), ("chat.js", "javascript"), ("chat.css", "css")):
        answer = await service_client.get(f"/{name}")
        assert answer.headers["content-type"] == f"text/{kind}; charset=utf-8"
    for name in ("chat.py", "chat.yaml", "..%2Fecho.py"):
        assert (await service_client.get(f"/{name}")).status == 404
    with pytest.raises(InvalidStatus):
        await websocket_client.get("rooms/a").__aenter__()
    v1 = {"subprotocols": ["mpchat.room.v1"]}
    async with (
        websocket_client.get("rooms/a?name=Ada", **v1) as ada,
        websocket_client.get("rooms/a?name=Bob", **v1) as bob,
    ):
        assert json.loads(await ada.recv())["recovered"] is True
        await bob.recv()
        await bob.send('{"publish": "1", "data": {"text": "hello"}}')
        message: dict[str, object] = {}
        while "data" not in message:
            message = json.loads(await ada.recv())
        assert (message["data"], message["by"]) == ({"text": "hello"}, "Bob")
    history = (await service_client.get("/rooms/a")).json()
    assert history["messages"] == [message]
    assert (await service_client.post("/rooms/a", "from a page")).status == 405


@pytest.mark.parametrize(("example", "tests"), [("clock", 3), ("orders", 1)])
def test_an_authors_test(tmp_path: Path, example: str, tests: int) -> None:
    for path in EXAMPLES.glob(f"*{example}.*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "pytest.ini").write_text(PYTEST_INI)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"test_{example}.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{tests} passed" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0


def test_the_config_services_own_tests(tmp_path: Path) -> None:
    folder = tmp_path / "config_service"
    shutil.copytree(EXAMPLES / "config_service", folder)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=folder,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4 passed" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0


def test_each_is_small() -> None:
    files = [path for path in EXAMPLES.rglob("*") if path.suffix in {".py", ".yaml", ".json"}]
    assert len(files) >= 13
    for path in files:
        lines = path.read_text().count("\n")
        assert lines <= MAX_LINES, f"{path} has {lines} lines"
