"""docs/console.md: its config serves, requests are answered as it says, answers have these fields."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.dynamic_config.in_force import ConfigInForce, Failure
from mpchat.dynamic_config.snapshot import to_bytes
from mpchat.server.inspection import HIDDEN_ARGUMENTS, InFlight, describe_request
from mpchat.testsuite.clients import ServiceClient
from mpchat.testsuite.service import Service
from tests.docs.pages import ROOT, blocks
from tests.docs.test_blocks import merge
from tests.docs.test_configuration import CONFIG, load
from tests.functional.test_console import port_of
from tests.kit.control import Control

PAGE = (ROOT / "docs" / "console.md").read_text()
BLOCKS = [*blocks(PAGE)]
ADDRESS = "http://127.0.0.1:8081"
REQUEST, IN_FORCE = (block.text for block in BLOCKS if block.language == "json")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceClient]:
    folder = tmp_path_factory.mktemp("console")
    config = yaml.safe_load(CONFIG)
    components = config["components_manager"]["components"]
    for name in [*components]:
        if name not in {"server", "logging", "handler-ping"}:
            del components[name]
    first = next(block.text for block in BLOCKS if block.language == "yaml")
    merge(components, yaml.safe_load(first))
    control = folder / "control.sock"
    server = components["server"]
    server |= {"listener": {"port": 0}, "control-socket": str(control)}
    server["listener-monitor"]["port"] = 0
    (folder / "static_config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "mpchat", "serve", "-c", "static_config.yaml"]
    service = Service(command, folder)
    try:
        service.wait_ready()
        yield ServiceClient(port_of(Control(control)))
    finally:
        service.close()


def steps(session: str) -> Iterator[tuple[str, str]]:
    """Return what is typed, and what is shown for it."""
    for found in re.finditer(r"^\$ (?P<command>.*)\n(?P<shown>(?:(?!\$ ).*\n)*)", session, re.M):
        yield found["command"], found["shown"]


async def curl(command: str, console: ServiceClient) -> str:
    """Return what the command prints: curl, and perhaps grep behind it."""
    typed, _, search = command.partition(" | grep ")
    name, *words = shlex.split(typed)
    assert name == "curl"
    options = {"-X": "GET", "-d": ""}
    while words:
        word = words.pop(0)
        if word in options:
            options[word] = words.pop(0)
        elif word != "-s":
            url = word
    path = url.removeprefix(ADDRESS)
    assert path.startswith("/")
    answer = await console.request(options["-X"], path, data=options["-d"])
    assert answer.status == 200
    lines = answer.text.splitlines(keepends=True)
    shown = "".join(line for line in lines if search in line)
    return shown if not shown or shown.endswith("\n") else f"{shown}\n"


@pytest.mark.parametrize("session", [b.text for b in BLOCKS if b.language == "console"])
async def test_requests_are_answered_as_the_page_says(console: ServiceClient, session: str) -> None:
    for command, shown in steps(session):
        assert await curl(command, console) == shown, command


async def test_each_handler_has_an_example_or_the_fields_of_its_answer(
    console: ServiceClient,
) -> None:
    head = b"GET /chat?room=a&ticket=b HTTP/1.1\r\nHost: example.com\r\n\r\n"
    row = describe_request(InFlight(head, b"", 0.0), 61.2, 0.0, with_body=False)
    (shown,) = json.loads(REQUEST)
    assert list(shown) == list(row)
    assert {name: shown[name] for name in ("url", "args")} == {
        name: row[name] for name in ("url", "args")
    }
    failure = Failure("", 0.0)
    content = to_bytes({"A": 1}, {"A": ""})
    config = ConfigInForce(1, 0.0, content, failure).describe([])
    assert shape(json.loads(IN_FORCE)) == shape(
        config | {"variables": {"MPCHAT_LIMITS": config["variables"]["A"]}}
    )
    assert all(f"`{name}`" in PAGE for name in HIDDEN_ARGUMENTS)
    assert (await console.get("/service/inspect-requests")).text == "[]\n"
    assert (await console.get("/service/dynamic-config")).json()["generation"] == 1


def shape(value: Any) -> Any:
    """Return the names in a value, without what they stand for."""
    if isinstance(value, dict) and "value" not in value:
        return {name: shape(item) for name, item in value.items()}
    return sorted(value) if isinstance(value, dict) else None


@pytest.mark.parametrize("block", [b.text for b in BLOCKS if b.language == "yaml"])
def test_its_configs_are_valid(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSOLE_TOKEN", "correct horse battery staple")
    config = yaml.safe_load(CONFIG)
    merge(config["components_manager"]["components"], yaml.safe_load(block))
    assert load(config, tmp_path).warnings == ()
