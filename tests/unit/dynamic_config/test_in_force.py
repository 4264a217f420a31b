"""The dynamic config in force: values and origins from all layers, and what was tried since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mpchat.config.files import ConfigFiles
from mpchat.development.service import in_development
from mpchat.dynamic_config.in_force import ConfigInForce, Failure, describe, take
from mpchat.dynamic_config.keys import Key
from mpchat.dynamic_config.snapshot import from_bytes, to_bytes
from mpchat.handlers.lists import default_component_list
from mpchat.ipc.messages import DynamicConfig
from mpchat.linux.memfd import sealed_memfd
from mpchat.template.dynamic import load_dynamic
from mpchat.template.loading import Sources, load_service

CONFIG = """\
components_manager:
    task_processors: {main: {worker_threads: 1}}
    default_task_processor: main
    graceful_shutdown_interval: 500ms
    components:
        server: {listener: {port: 0}}
        logging: {loggers: {default: {file_path: "@stderr"}}}
        dynamic-config:
            defaults:
                A: 1
                B: 2
        dynamic-config-fallbacks: {fallback-path: b.json}
        handler-ping: {path: /ping}
"""


def test_origins_are_those_of_the_last_layer(tmp_path: Path) -> None:
    config, fallback = tmp_path / "c.yaml", tmp_path / "b.json"
    config.write_text(CONFIG)
    fallback.write_text('{\n  "B": 3}')
    service = load_service(ConfigFiles(str(config)), default_component_list(), Sources())
    loaded = load_dynamic(service)
    from_manager = "graceful_shutdown_… in components_manager"
    assert loaded.origins == {
        "A": f"{config}:10:20",
        "B": f"{fallback}:2:8",
        "MPCHAT_DRAIN": from_manager,
    }
    fallback.write_text('{"MPCHAT_DRAIN": {"window_ms": 5}}')
    place = f"{fallback}:1:18"
    loaded = load_dynamic(service)
    assert loaded.origins["MPCHAT_DRAIN"] == f"{place} and {from_manager}"
    loaded = load_dynamic(in_development(service))
    assert loaded.origins["MPCHAT_DRAIN"] == f"{place} and --dev or --no-fork"


def test_what_no_file_sets_has_its_default() -> None:
    keys: list[Key[Any]] = [Key("RATE", int, default=10), Key("OTHER", int, default=1)]
    assert describe({"OTHER": 2, "NEW": 3}, {"OTHER": "a:1:2", "NEW": "a:3:4"}, keys) == {
        "NEW": {"value": 3, "origin": "a:3:4", "declared": False},
        "OTHER": {"value": 2, "origin": "a:1:2", "declared": True},
        "RATE": {"value": 10, "origin": "default", "declared": True},
    }


def test_what_the_supervisor_tells_is_described() -> None:
    content = to_bytes({"A": [1]}, {"A": "a:1:2"})
    assert from_bytes(content) == {"A": [1]}
    failures = {"reload": {"text": "a\nb", "at": 1_764_374_399.5}}
    config = take(DynamicConfig(4, 0.25, failures), sealed_memfd("test", content))
    assert config == ConfigInForce(4, 0.25, content, Failure("a\nb", 1_764_374_399.5))
    found = config.describe([])
    assert json.loads(json.dumps(found)) == {
        "generation": 4,
        "since": "1970-01-01T00:00:00.250+00:00",
        "reload_error": {"at": "2025-11-28T23:59:59.500+00:00", "text": "a\nb"},
        "restart_error": None,
        "update_error": None,
        "variables": {"A": {"value": [1], "origin": "a:1:2", "declared": False}},
    }
