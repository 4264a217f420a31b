"""Prints the reference pages from the models and constants of the package: ``make docs``.

``--check`` writes nothing and fails when a page is stale; the test suite calls it.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from mpchat.components.handler_base import HandlerBase
from mpchat.config.static import ManagerOptions, TaskProcessorOptions
from mpchat.dynamic_config.options import DynamicConfigFallbacksOptions, DynamicConfigOptions
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.errors import ExitCode
from mpchat.logs.options import LoggerOptions, LoggingOptions
from mpchat.server.options import ConnectionOptions, HandlerDefaults, ListenerOptions, ServerOptions
from mpchat.supervisor.numbers import Numbers
from mpchat.websocket.handler import WebsocketHandlerBase

FOLDER = Path(__file__).parent
NOTE = "<!-- Printed by docs/generate.py (make docs). Edit the models, not this page. -->\n"

SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("components_manager", ManagerOptions),
    ("components_manager.task_processors.NAME", TaskProcessorOptions),
    ("server", ServerOptions),
    ("server.listener", ListenerOptions),
    ("server.listener.connection", ConnectionOptions),
    ("server.listener.handler-defaults", HandlerDefaults),
    ("logging", LoggingOptions),
    ("logging.loggers.NAME", LoggerOptions),
    ("dynamic-config", DynamicConfigOptions),
    ("dynamic-config-fallbacks", DynamicConfigFallbacksOptions),
    (
        "websocket-handler, and every handler derived from WebsocketHandlerBase",
        WebsocketHandlerBase.Options,
    ),
    ("handler-ping, and every handler of plain HTTP", HandlerBase.Options),
)

SIGNALS = (
    ("HUP", "Read the dynamic config again; no connection is touched"),
    ("TERM, INT", "Drain and stop; a second one: stop now"),
    ("QUIT", "Stop now"),
    ("USR1, USR2, TTIN, TTOU", "Logged as not supported yet"),
)


def configuration() -> str:
    """Return the page of all options."""
    lines = [NOTE, "# Configuration reference", ""]
    lines += [
        "Durations are `500ms`, `10s`, `1m`, `1h`; sizes are bytes; a null section is empty.",
        "",
    ]
    for name, model in SECTIONS:
        lines += [f"## `{name}`" if "," not in name else f"## {name}", ""]
        lines += ["| Option | Default | Meaning |", "| --- | --- | --- |"]
        for field_name, info in model.model_fields.items():
            option = info.alias or field_name
            lines.append(f"| `{option}` | {_default(info)} | {info.description or ''} |")
        lines.append("")
    lines += ["## Dynamic config", "", "| Variable | Default |", "| --- | --- |"]
    for key in BUILT_IN_KEYS:
        plain = not isinstance(key.default, BaseModel)
        default = str(key.default).lower() if plain else key.default.model_dump_json()
        lines.append(f"| `{key.name}` | `{default}` |")
    for key in BUILT_IN_KEYS:
        if isinstance(key.type, type) and issubclass(key.type, BaseModel):
            lines += [
                "",
                f"### `{key.name}`",
                "",
                "| Field | Default | Meaning |",
                "| --- | --- | --- |",
            ]
            for field_name, info in key.type.model_fields.items():
                lines.append(f"| `{field_name}` | {_default(info)} | {info.description or ''} |")
    return "\n".join(lines) + "\n"


def operations() -> str:
    """Return the page of signals, exit codes and numbers."""
    lines = [NOTE, "# Signals, exit codes, numbers", "", "## Signals to the supervisor", ""]
    lines += ["| Signal | Effect |", "| --- | --- |"]
    lines += [f"| {name} | {effect} |" for name, effect in SIGNALS]
    lines += ["", "TERM to one worker retires it: its successor starts at once.", ""]
    lines += ["## Exit codes", "", "| Code | Meaning |", "| --- | --- |"]
    lines += [f"| {code.value} | {code.meaning} |" for code in ExitCode]
    lines += [
        "",
        "## Numbers of the supervisor",
        "",
        "| Number | Value | Reason |",
        "| --- | --- | --- |",
    ]
    for item in fields(Numbers):
        unit = item.metadata["unit"]
        value = f"{item.default:g} {unit}" if unit != "±" else f"± {item.default:g}"
        lines.append(f"| {item.name} | {value} | {item.metadata['reason']} |")
    return "\n".join(lines) + "\n"


def _default(info: Any) -> str:
    if info.is_required():
        return "required"
    default = info.default
    if default is PydanticUndefined:
        default = info.get_default(call_default_factory=True)
    if isinstance(default, float):
        return f"`{default:g}s`"
    if default is None:
        return "none"
    if isinstance(default, BaseModel):
        return "see below"
    if isinstance(default, dict):
        return "one to `@stderr`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


PAGES = {"configuration.md": configuration, "operations.md": operations}


def main() -> int:
    """Write the pages or, with --check, compare them."""
    stale = []
    for name, page in PAGES.items():
        path = FOLDER / name
        text = page()
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    for name in stale:
        print(f"docs/{name} is stale: run `make docs`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
