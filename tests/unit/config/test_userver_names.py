"""The script that takes names from a source tree of userver, on trees laid out as v2 and v3 are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpchat.config.userver import load_userver_names
from tools.userver_names import Tree, TreeError, add

EMPTY: dict[str, Any] = {
    "components_manager": ["older"],
    "task_processor": [],
    "handler": [],
    "variables": [],
    "components": {
        "older-component": [],
        **{
            name: []
            for name in ("server", "logging", "dynamic-config", "handler-ping", "tests-control")
        },
    },
}

MANAGER = """
type: object
description: manager-controller config
properties:
    event_thread_pool:
        type: object
        properties:
            threads: {type: integer}
    task_processors:
        type: object
        additionalProperties:
            type: object
            properties:
                worker_threads: {type: integer}
                spin: {type: integer}
"""

SERVER = """
properties:
    listener:
        properties:
            port: {type: integer}
            ports:
                type: array
                items:
                    properties:
                        port: {type: integer}
                        fancy: {type: integer}
            connection:
                properties:
                    keepalive_timeout: {type: integer}
                    http9: {type: boolean}
    listener-monitor:
        properties:
            port: {type: integer}
            glow:
                properties:
                    colour: {type: string}
"""

LOGGING = """
properties:
    loggers:
        additionalProperties:
            properties:
                level: {type: string}
                glitter: {type: string}
"""

COMPONENT = """
/// Not a component: class Fake : public ComponentBase
struct Group final {
    static constexpr std::string_view kName = "group";
};

class Widget final : public components::ComponentBase {
public:
    /// the name of the section
    static constexpr std::string_view kName = "widget";
};
"""

KEY = 'const dynamic_config::Key<int> kLimit{"WIDGET_LIMIT", 10};'


def tree(root: Path, suffix: str) -> Tree:
    schemas = {
        "components/manager_config": MANAGER,
        "server/component": SERVER,
        "logging/component": LOGGING,
    }
    for stem in (
        "dynamic_config/storage/component",
        "server/handlers/ping",
        "server/handlers/tests_control",
        "server/handlers/handler_base",
        "server/handlers/http_handler_base",
    ):
        schemas[stem] = "properties:\n    path: {type: string}\n    odd: {type: string}\n"
    for stem, schema in schemas.items():
        path = root / "core" / "src" / f"{stem}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(schema if suffix == ".yaml" else f'return Merge(R"({schema})");')
    for folder in ("core/include/userver", "core/functional_tests/x"):
        (root / folder).mkdir(parents=True)
    (root / "core/include/userver/widget.hpp").write_text(COMPONENT)
    test = COMPONENT.replace("widget", "only-in-a-test")
    (root / "core/functional_tests/x/service.cpp").write_text(test)
    if suffix == ".yaml":
        (root / "core/dynamic_configs").mkdir()
        (root / "core/dynamic_configs/WIDGET_LIMIT.yaml").write_text("default: 10\n")
    else:
        (root / "core/src/widget.cpp").write_text(KEY)
    return Tree(root)


@pytest.mark.parametrize("suffix", [".yaml", ".cpp"])
def test_names_are_added(tmp_path: Path, suffix: str) -> None:
    names = add([tree(tmp_path, suffix)], EMPTY)
    assert names["components_manager"] == ["event_thread_pool", "older"]
    assert names["task_processor"] == ["spin"]
    assert names["handler"] == ["odd"]
    assert names["variables"] == ["WIDGET_LIMIT"]
    assert names["components"] == {
        "dynamic-config": ["odd", "path"],
        "handler-ping": ["odd"],
        "logging": ["loggers.*.glitter"],
        "older-component": [],
        "server": ["listener-monitor.glow", "listener.connection.http9", "listener.ports.*.fancy"],
        "tests-control": ["odd"],
        "widget": [],
    }
    assert add([], names) == names


def test_another_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match="no component in it"):
        add([Tree(tmp_path)], EMPTY)


def test_what_v3_1_calls_its_own_is_known() -> None:
    names = load_userver_names()
    assert {"boot-log-path", "enable_trx_tracker"} <= names.manager
    assert {"cors-middleware", "grpc-server-baggage"} <= names.components.keys()
    assert "listener.ports.*.tls" in names.components["server"]
