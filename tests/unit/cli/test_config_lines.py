"""A config as it is in force, printed and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mpchat.cli.settings import changes, config_lines, secrets
from mpchat.config.files import ConfigFiles
from mpchat.config.settings import DEFAULT, DEFAULT_AT_TERMINAL, DEVELOPMENT, SECRET, Setting
from mpchat.development.service import in_development
from mpchat.handlers.lists import default_component_list
from mpchat.template.loading import Sources, load_service

TEXT = """\
components_manager:
    task_processors: {main.processor: {worker_threads: 3}, fs-task-processor: {worker_threads: 2}}
    default_task_processor: main.processor
    graceful_shutdown_interval: 500ms
    components:
        server:
            listener:
                ports: [{address: "::1", port: 0}]
                handler-defaults: {max_url_size: 4096}
            worker-max-lifetime: 36h
        logging:
            loggers:
                default: {file_path: /dev/null, format: json}
                "yes": {file_path: "@null", level: none}
        dynamic-config:
            defaults: {USERVER_LOG_REQUEST: false, MPCHAT_DRAIN: {window_ms: 5}}
        websocket-handler:
            path: /chat
            allowed-origins: ["https://a.example", "http://b.example:8080"]
            permessage-deflate: {}
        handler-ping: {path: "/{x}", method: "GET,HEAD"}
"""


def test_what_is_shown_is_a_config_that_means_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(TEXT)
    service = load_service(ConfigFiles(str(first)), default_component_list(), Sources())
    shown = "\n".join(config_lines(service.settings))
    second.write_text(shown)
    again = load_service(ConfigFiles(str(second)), default_component_list(), Sources())
    # Its own place is in the documents of the dynamic config.
    (layer,) = service.dynamic_layers
    assert [document.value for document in again.dynamic_layers] == [layer.value]
    assert replace(again, dynamic_layers=service.dynamic_layers) == service
    assert changes(service.settings, again.settings) == []
    assert f"  # {first}:2:" in shown
    assert "  # default" in shown


ODD: list[object] = [
    "",
    "yes",
    "7",
    "a: b",
    "# no",
    "two\nlines",
    "tab\t",
    "\x85",
    "é ",
    "- x",
    None,
    1.5,
    [],
    {},
]


@pytest.mark.parametrize("value", ODD)
def test_any_value_is_one_line_that_yaml_reads_back(value: object) -> None:
    settings = [
        Setting(("a", "list", 0), value, "here"),
        Setting(("a", "list", 1, "x"), value, "here"),
        Setting(("a", "list", 1, "y"), 1, "here"),
        Setting(("a", str(value)), value, "here"),
    ]
    lines = list(config_lines(settings))
    assert len(lines) == 6
    read = yaml.safe_load("\n".join(lines))
    assert read == {"a": {"list": [value, {"x": value, "y": 1}], str(value): value}}


def setting(name: str, value: object, origin: str = "a.yaml:1:1") -> Setting:
    return Setting(("components_manager", "components", *name.split(".")), value, origin)


def test_a_change_has_both_values_with_their_places() -> None:
    old = [setting("x.port", 1), setting("x.gone", "text"), setting("x.same", 1)]
    new = [setting("x.port", 2, DEFAULT), setting("x.same", 1, "b.yaml:2:2"), setting("x.new", [])]
    assert [list(change.lines()) for change in changes(old, new)] == [
        ["components.x.port:", "- 1  # a.yaml:1:1", "+ 2  # default"],
        ["components.x.gone:", "- text  # a.yaml:1:1"],
        ["components.x.new:", "+ []  # a.yaml:1:1"],
    ]


def test_what_is_equal_in_python_alone_is_a_change() -> None:
    assert changes([setting("x", 1)], [setting("x", True)]) != []


def test_what_development_alone_changes_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    service = load_service(ConfigFiles(str(path)), default_component_list(), Sources())
    served = in_development(service).settings
    assert [one.value for one in served if one.origin == DEVELOPMENT] == ["1d", "@stderr", "text"]
    assert changes(served, service.settings) == changes(service.settings, served) == []


def test_a_default_that_depends_on_the_terminal_is_no_change() -> None:
    tskv, text = setting("f", "tskv", DEFAULT), setting("f", "text", DEFAULT_AT_TERMINAL)
    assert changes([tskv], [text]) == changes([text], [tskv]) == []
    assert changes([replace(tskv, origin="a.yaml:1:1")], [text]) != []


def test_secrets_are_named() -> None:
    assert secrets([setting("a.key", SECRET), setting("a.b", 1)]) == ["components.a.key"]
