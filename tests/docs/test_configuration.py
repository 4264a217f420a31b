"""docs/configuration.md: each name and each default is what the service accepts, and means the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.auth.bearer import BearerAuth
from mpchat.auth.cookie import CookieAuth
from mpchat.auth.jwt import JwtAuth
from mpchat.auth.ticket import TicketAuth, TicketHandler
from mpchat.cli.settings import changes, config_lines
from mpchat.config.files import ConfigFiles
from mpchat.config.settings import SECRET
from mpchat.dynamic_config import fallback
from mpchat.dynamic_config.json_file import read_json
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.handlers.lists import default_component_list
from mpchat.template.loading import Sources, load_service
from mpchat.worker.service import Service
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "configuration.md").read_text()
STATIC, _, DYNAMIC = PAGE.partition("## Dynamic config\n")
_ROW = re.compile(r"^\| `(?P<name>[^`|]+)` \| (?P<default>[^|]+) \| (?P<meaning>.*) \|$", re.M)
CONFIG = """
components_manager:
    task_processors:
        main: {worker_threads: 1}
    default_task_processor: main
    components:
        server:
            listener: {port: 1, tls: {cert: a.pem, private-key: a.key}}
            listener-monitor: {port: 2}
        logging:
            loggers:
                default: {file_path: "@stderr"}
        websocket-handler: {path: /chat}
        handler-ping: {path: /ping}
        tests-control: {path: "/tests/{action}"}
        bearer: {}
        ticket: {}
        jwt: {key: 0123456789abcdef0123456789abcdef}
        handler-ticket: {auth: {types: [signed-cookie]}}
        signed-cookie: {key: 0123456789abcdef0123456789abcdef}
        rooms: {engine: nats, nats: {servers: ["nats://127.0.0.1:4222"]}}
        room-handler: {path: "/room/{room}"}
        handler-rooms: {path: "/room/{room}"}
        handler-server-monitor: {path: /monitor}
        handler-metrics: {path: /metrics}
        congestion-control: {only-rtc: false, min-cpu: 0}
        dynamic-config: {updates-enabled: true}
        dynamic-config-client:
            config-url: http://127.0.0.1:8083
            service-name: chat
            http-timeout: 1s
            http-retries: 3
        dynamic-config-client-updater:
            config-settings: false
            first-update-fail-ok: true
            update-interval: 5s
"""
NAMES = {"logging.loggers": "default", "components_manager.task_processors": "main"}


@dataclass(frozen=True)
class Row:
    section: str
    name: str
    default: str
    meaning: str

    @property
    def value(self) -> str | None:
        """The default as a config has it; None for one that is told in words."""
        return self.default[1:-1] if self.default.startswith("`") else None

    def __str__(self) -> str:
        return f"{self.section}.{self.name}"


def rows(part: str, heading: str) -> Iterator[Row]:
    for section in re.split(rf"^{heading} ", part, flags=re.M)[1:]:
        title = section.split("\n", 1)[0].partition(",")[0].strip("`")
        for found in _ROW.finditer(section):
            yield Row(title, found["name"], found["default"], found["meaning"])


OPTIONS = [*rows(STATIC, "##")]
VARIABLES = [*rows(f"## all\n{DYNAMIC.partition('###')[0]}", "##")]
FIELDS = [*rows(DYNAMIC, "###")]


def load(config: Any, folder: Path) -> Service:
    path = folder / "static_config.yaml"
    path.write_text(yaml.safe_dump(config))
    components = default_component_list().append(BearerAuth).append(CookieAuth)
    components.append(TicketAuth).append(TicketHandler).append(JwtAuth)
    return load_service(ConfigFiles(str(path)), components, Sources())


def section_of(config: Any, name: str) -> Any:
    """Return the mapping in a config that a section of the page is about."""
    parent, dot, last = name.rpartition(".")
    found = config["components_manager"]
    if not name.startswith("components_manager"):
        found = found["components"]
    for part in [*parent.split("."), NAMES.get(parent, last) if dot else last]:
        if part and part != "components_manager":
            found = found.setdefault(part, {})
    return found


def test_all_of_the_page_is_looked_at() -> None:
    tables = PAGE.count("| --- | --- | --- |")
    assert PAGE.count("\n| ") == 2 * tables + len(OPTIONS) + len(VARIABLES) + len(FIELDS)
    assert {row.name for row in VARIABLES} == {key.name for key in BUILT_IN_KEYS}
    assert [str(row) for row in (*OPTIONS, *VARIABLES, *FIELDS) if not row.meaning.strip()] == []


@pytest.mark.parametrize("row", [row for row in OPTIONS if row.value is not None], ids=str)
def test_a_static_option_is_accepted_with_its_default(row: Row, tmp_path: Path) -> None:
    assert row.value is not None
    config = yaml.safe_load(CONFIG)
    section = section_of(config, row.section)
    before = load(config, tmp_path)
    section.setdefault(row.name, yaml.safe_load(row.value))
    assert load(config, tmp_path) == before
    assert before.warnings == ()


def test_a_config_is_shown_with_every_option_as_it_would_be_written(tmp_path: Path) -> None:
    before = load(yaml.safe_load(CONFIG), tmp_path)
    keys = [one.value for one in before.settings if one.path[-1] == "key"]
    assert keys == [SECRET, SECRET]
    secret = yaml.safe_load(CONFIG)["components_manager"]["components"]["jwt"]["key"]
    shown = "\n".join(config_lines(before.settings)).replace("'" + SECRET + "'", secret)
    again = load(yaml.safe_load(shown), tmp_path)
    assert again == before
    assert changes(before.settings, again.settings) == []


def load_variables(values: Any) -> Snapshot:
    document = read_json(json.dumps(values), "dynamic.json")
    return Snapshot(1, fallback.load([document], BUILT_IN_KEYS, frozenset()).values, BUILT_IN_KEYS)


@pytest.mark.parametrize("row", VARIABLES, ids=str)
def test_a_variable_is_accepted_with_its_default(row: Row) -> None:
    assert row.value is not None
    (key,) = (key for key in BUILT_IN_KEYS if key.name == row.name)
    assert load_variables({row.name: json.loads(row.value)})[key] == key.default


@pytest.mark.parametrize("row", FIELDS, ids=str)
def test_a_field_of_a_variable_is_accepted_with_its_default(row: Row) -> None:
    (variable,) = (found for found in VARIABLES if found.name == row.section)
    (key,) = (key for key in BUILT_IN_KEYS if key.name == row.section)
    assert variable.value is not None
    complete, without = json.loads(variable.value), json.loads(variable.value)
    *parents, last = row.name.split(".")
    for value in (complete, without):
        inside = value
        for part in parents:
            inside = next(iter(inside.values())) if part == "NAME" else inside[part]
        if row.value is None:
            assert last in inside
        elif value is complete:
            inside[last] = json.loads(row.value)
        else:
            del inside[last]
    assert (
        load_variables({row.section: complete})[key] == load_variables({row.section: without})[key]
    )
