"""Prints the reference pages from the models and constants of the package: ``make docs``.

``--check`` writes nothing, and fails if a page is stale; the test suite runs it.
"""

from __future__ import annotations

import enum
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from screenshot import watching

import mpchat
from mpchat.auth.bearer import BearerAuth
from mpchat.auth.cookie import CookieAuth
from mpchat.auth.jwt import JwtAuth
from mpchat.auth.ticket import TicketAuth, TicketHandler
from mpchat.compiled import SWITCH
from mpchat.components.auth import AuthCheckerBase
from mpchat.components.component import Component, Components
from mpchat.components.connections import Connections
from mpchat.components.context import Context
from mpchat.components.handler_base import AuthOptions, HandlerBase
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.components.identity import Identity
from mpchat.components.json_handler import HttpHandlerJsonBase
from mpchat.components.list import ComponentList
from mpchat.config.secdist import SecdistOptions, SecdistProviderOptions
from mpchat.config.static import ManagerOptions, TaskProcessorOptions
from mpchat.config.types import OptionsModel, parse_duration
from mpchat.config.validation import models_in
from mpchat.config_service.options import ClientOptions, UpdaterOptions
from mpchat.congestion.options import CongestionControlOptions
from mpchat.console import options as console
from mpchat.console.catalogue import CATALOGUE
from mpchat.daemon import daemon_main
from mpchat.dynamic_config.keys import Key
from mpchat.dynamic_config.options import DynamicConfigFallbacksOptions, DynamicConfigOptions
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.errors import ExitCode
from mpchat.handlers.lists import default_component_list, minimal_server_component_list
from mpchat.handlers.ping import Ping
from mpchat.handlers.tests_control import TestsControl
from mpchat.http.errors import HttpError
from mpchat.http.request import HttpRequest, Query
from mpchat.http.responses import response
from mpchat.jetstream.options import JetStreamOptions
from mpchat.logs.options import LoggerOptions, LoggingOptions
from mpchat.metrics import Counter, Gauge, Histogram, counter, gauge, histogram
from mpchat.metrics.directory import MAX_VALUES
from mpchat.rooms.errors import (
    Behind,
    NoSuchRoom,
    RoomClosed,
    RoomError,
    TooLarge,
    TooManyMembers,
    TooManyMessages,
    TooManyRooms,
    Unavailable,
)
from mpchat.rooms.handler import Access, RoomHandler
from mpchat.rooms.http import RoomsHandler
from mpchat.rooms.message import Message
from mpchat.rooms.position import Position
from mpchat.rooms.room import Members, Room
from mpchat.rooms.rooms import History, Rooms
from mpchat.scoreboard.counters import GAUGES, LIMITS, TABLE, TOTALS, Metric
from mpchat.server import stages
from mpchat.server.options import (
    ConnectionOptions,
    HandlerDefaults,
    ListenerOptions,
    MonitorListenerOptions,
    ServerOptions,
)
from mpchat.supervisor import policy, reload, restart
from mpchat.supervisor.states import Event, State
from mpchat.supervisor.timing import Timing
from mpchat.tls.options import TlsOptions
from mpchat.websocket import phases
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.negotiation import DeflateOptions

FOLDER = Path(__file__).parent
NOTE = "<!-- Printed by docs/generate.py (make docs). Edit the models, not this page. -->\n"

COUNTERS_BEGIN = (
    "<!-- Printed by docs/generate.py from mpchat/scoreboard/counters.py (make docs). -->"
)
COUNTERS_END = "<!-- End of the printed tables. -->"

SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("components_manager", ManagerOptions),
    ("components_manager.task_processors.NAME", TaskProcessorOptions),
    ("server", ServerOptions),
    ("server.listener", ListenerOptions),
    ("server.listener.connection", ConnectionOptions),
    ("server.listener.handler-defaults", HandlerDefaults),
    ("server.listener.tls, and server.listener-monitor.tls", TlsOptions),
    ("server.listener-monitor", MonitorListenerOptions),
    ("logging", LoggingOptions),
    ("logging.loggers.NAME", LoggerOptions),
    ("dynamic-config", DynamicConfigOptions),
    ("dynamic-config-fallbacks", DynamicConfigFallbacksOptions),
    ("dynamic-config-client", ClientOptions),
    ("dynamic-config-client-updater", UpdaterOptions),
    ("congestion-control", CongestionControlOptions),
    ("secdist", SecdistOptions),
    ("default-secdist-provider", SecdistProviderOptions),
    (
        "websocket-handler, and every handler derived from WebsocketHandlerBase",
        WebsocketHandlerBase.Options,
    ),
    ("websocket-handler.permessage-deflate", DeflateOptions),
    (
        "handler-ping, and every handler derived from HttpHandlerBase but for needs-stream",
        Ping.Options,
    ),
    ("websocket-handler.auth", AuthOptions),
    ("bearer", BearerAuth.Options),
    ("signed-cookie", CookieAuth.Options),
    ("jwt", JwtAuth.Options),
    ("ticket", TicketAuth.Options),
    ("handler-ticket", TicketHandler.Options),
    ("tests-control", TestsControl.Options),
    ("rooms", Rooms.Options),
    ("rooms.nats", JetStreamOptions),
    ("room-handler, and every handler derived from RoomHandler", RoomHandler.Options),
    ("handler-rooms", RoomsHandler.Options),
    ("handler-server-monitor", console.ServerMonitorOptions),
    (
        ", ".join(name for name in console.SECTIONS if name != "handler-server-monitor"),
        console.ConsoleHandlerOptions,
    ),
)

# Variables without a model; the others have their model's docstring.
VARIABLES = {
    "USERVER_LOG_REQUEST": "Whether requests and closed connections are logged",
    "USERVER_LOG_REQUEST_HEADERS": "Whether lines about requests contain the headers",
    "USERVER_LOG_REQUEST_HEADERS_WHITELIST": "Headers whose values may be logged",
    "USERVER_RPS_CCONTROL_ENABLED": "Turns userver's congestion control on, where the config has its "
    "section",
    "USERVER_RPS_CCONTROL_ACTIVATED_FACTOR_METRIC": "The metric `congestion-control.rps.is-activated` is "
    "1 while a limit is below so many times the load",
}

SIGNALS = (
    ("HUP", "Read the dynamic config and certificates again; no connection is touched"),
    ("TERM, INT", "Drain and stop; a second one: stop now"),
    ("QUIT", "Stop now"),
    ("USR1", "Open log files again, in every process; logrotate sends it after moving them"),
    (
        "TTIN, TTOU",
        "One worker more, one fewer; ignored under a controlling terminal, which sends them to "
        "background jobs (`mpchat scale` works there, too)",
    ),
    (
        "USR2",
        "Restart with the current code and static config, slot by slot; if they do not load or a new "
        "worker does not start, the old workers stay",
    ),
)

# Functions and classes in reading order, each with the members that are not for authors.
REFERENCE: tuple[tuple[Any, set[str]], ...] = (
    (WebsocketHandlerBase, set()),
    (WebSocketConnection, set()),
    (Context, {"belongs_to"}),
    (Identity, set()),
    (HttpHandlerBase, set()),
    (HttpHandlerJsonBase, {"__init__", "handle_request"}),
    (HttpRequest, {"__init__"}),
    (Query, {"__init__", "__getitem__", "__iter__", "__len__"}),
    (response, set()),
    (HttpError, {"__init__"}),
    (HandlerBase, set()),
    (AuthCheckerBase, set()),
    (BearerAuth, {"__init__", "check", "check_files", "on_config_update", "start"}),
    (CookieAuth, {"__init__", "check"}),
    (JwtAuth, {"__init__", "check", "check_files", "on_config_update", "start"}),
    (TicketAuth, {"__init__", "check"}),
    (TicketHandler, {"__init__", "handle_request"}),
    (Component, set()),
    (
        Components,
        {
            "background_under_construction",
            "build",
            "config_updated",
            "name_under_construction",
            "start",
            "stop",
        },
    ),
    (Connections, {"__init__"}),
    (Rooms, {"__init__", "begin", "publish_encoded", "side", "stop"}),
    (
        Room,
        {
            "__init__",
            "begin",
            "connection_ended",
            "ensure_extra",
            "fall_behind",
            "follow",
            "is_listed",
            "part",
            "recovered",
            "room_name",
            "subscription",
            "take",
            "unfollow",
        },
    ),
    (Message, {"__init__"}),
    (Position, set()),
    (History, set()),
    (Members, set()),
    (RoomHandler, {"__init__", "handle"}),
    (Access, set()),
    (RoomsHandler, {"__init__", "handle_request"}),
    (OptionsModel, set()),
    (Key, {"default_json", "validate"}),
    (Snapshot, {"__init__"}),
    (ComponentList, {"append_on_demand", "items", "names"}),
    (minimal_server_component_list, set()),
    (Ping, {"handle_request"}),
    (default_component_list, set()),
    (daemon_main, set()),
)

METRICS: tuple[tuple[Any, set[str]], ...] = (
    (counter, set()),
    (gauge, set()),
    (histogram, set()),
    (Counter, set()),
    (Gauge, set()),
    (Histogram, set()),
)

METRICS_INTRODUCTION = """\
What a service counts of its own stands beside the server's metrics. The class of a component or handler
declares it, and its objects count, in every worker. From [orders.py](examples/orders.py):

```python
{example}
```

A label has a fixed list of values; any other is a `ValueError` where it is counted. Mistakes in
declarations are mistakes of the config: `mpchat check` names them. A service may have {values:,} values:
one for each combination of labels' values, and in a histogram one for each bucket and the sum. Any
thread of a worker may count: the event loop adds it up. In a process that was forked from a worker, it is
a `RuntimeError`.

The console adds up all workers. Counters and histograms never fall: they outlive workers, and restarts
with new code. What new code does not declare any more stays until the service ends, and so does what was
counted under a value of a label that is gone. A metric begins anew, with a warning in the log, when it
has become another kind, or has other names of labels or other bounds. Gauges end with their worker.
"""

HANDLERS_INTRODUCTION = """\
Import all names from `mpchat`. Options of handlers are in [configuration.md](configuration.md),
programs in [examples](examples/README.md). A handshake is a `Request` of `websockets.http11`, a plain
request an `HttpRequest`; both are answered with a `Response` of `websockets.http11`. The
`Message` of a connection is `str | bytes`; that of a room has more to it. Two types are for options: a
`Duration` is written as `500ms` and read in seconds, and a relative `ConfigPath` is relative to the
folder of the static config.
"""

EXCEPTIONS = (
    ("ConnectionClosed", "The connection has ended; `rcvd` and `sent` are the two Closes, or None"),
    ("ConnectionClosedOK", "The same, with 1000, 1001 or no code each way"),
    ("ConnectionClosedError", "The same, with another code, or without a Close"),
    ("ConcurrencyError", "A second `recv` at the same time, or a second ping with the same data"),
    ("ProtocolError", "`close` with a code that must not be sent, or with too long a reason"),
    ("Unauthorized", "Raise it in a checker or in `handle_handshake`: the client gets 401"),
    ("ComponentError", "A component is missing, depends on itself, or did not start"),
    ("ControlError", "A component's reload failed; the text says why"),
)
# Those that have nothing to say beyond their docstrings.
ROOM_ERRORS = (
    RoomError,
    Unavailable,
    RoomClosed,
    NoSuchRoom,
    Behind,
    TooManyRooms,
    TooManyMembers,
    TooManyMessages,
    TooLarge,
)


def configuration() -> str:
    """Return the page of all options."""
    lines = [NOTE, "# Configuration reference", ""]
    lines += [
        "Write durations as `500ms`, `10s`, `1m`, `1h`, `1d`, sizes in bytes; a null section is empty.",
        "Defaults are in the form of the config.",
        "",
    ]
    for name, model in SECTIONS:
        lines += [f"## `{name}`" if "," not in name else f"## {name}", ""]
        lines += ["| Option | Default | Meaning |", "| --- | --- | --- |"]
        for field_name, info in model.model_fields.items():
            option = info.alias or field_name
            lines.append(f"| `{option}` | {_default(info)} | {info.description or ''} |")
        lines.append("")
    lines += ["## Dynamic config", "", "| Variable | Default | Meaning |", "| --- | --- | --- |"]
    for key in BUILT_IN_KEYS:
        meaning = VARIABLES.get(key.name) or _summary(_model_of(key.type))
        lines.append(f"| `{key.name}` | `{json.dumps(key.default_json())}` | {meaning} |")
    for key in BUILT_IN_KEYS:
        if models_in(key.type):
            lines += ["", f"### `{key.name}`", ""]
            lines += ["| Field | Default | Meaning |", "| --- | --- | --- |"]
            lines += _field_rows(key.type, "")
    return "\n".join(lines) + "\n"


def _model_of(annotation: Any) -> type[BaseModel]:
    (model,) = models_in(annotation)
    return model


def _summary(cls: type) -> str:
    line = (inspect.getdoc(cls) or "").splitlines()[0]
    return line.removesuffix(".").replace("``", "`")


def _field_rows(annotation: Any, prefix: str) -> Iterator[str]:
    """Return a row for each field of a variable, those of nested models by dotted names."""
    model = _model_of(annotation)
    if annotation is not model:
        prefix += "NAME."
    for field_name, info in model.model_fields.items():
        name = f"{prefix}{info.alias or field_name}"
        if models_in(info.annotation):
            yield from _field_rows(info.annotation, f"{name}.")
        else:
            yield f"| `{name}` | {_default(info)} | {info.description or ''} |"


def operations() -> str:
    """Return the page of signals, exit codes and numbers, and of watching a service."""
    lines = [
        NOTE,
        "# Signals, exit codes, numbers",
        "",
        *watching(),
        "## Signals to the supervisor",
        "",
    ]
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
    for item in fields(Timing):
        unit = item.metadata["unit"]
        value = f"{item.default:g} {unit}" if unit != "±" else f"± {item.default:g}"
        lines.append(f"| {item.name} | {value} | {item.metadata['reason']} |")
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """Return the page of all metrics."""
    lines = [
        NOTE.replace("Edit the models", "Edit the catalogue"),
        "# Metrics",
        "",
        "What the console publishes where it is configured, at `/metrics` for Prometheus and by",
        "userver's `handler-server-monitor`. A counter never falls while the service runs, whatever",
        "dies, restarts or is scaled. A gauge is the number of now. A worker publishes its counts a",
        "hundred times a second.",
        "",
        "A metric that userver has, has its name and labels, and is counted as things happen. There",
        "the component of a WebSocket handler is part of the name (`ws.chat-handler.msg.sent`), here",
        "it is a label. What is a running total is a counter here, where userver has gauges. Ours",
        "begin with `mpchat.`.",
        "",
        "At `/metrics` a name has `_` in place of dots and dashes, and a counter's ends with `_total`:",
        "`server.requests.processed` is `server_requests_processed_total` there.",
        "",
        "| Name | Kind | Unit | Labels | Meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {one.unit} | {labels} | {one.help} |")
    return "\n".join(lines) + "\n"


def states() -> str:
    """Return the page of the tables of states."""
    lines = [NOTE.replace("models", "tables"), "# States", ""]
    lines += [
        "What a worker, a reload, a restart and a connection do when something happens, by their state.",
        "These are the tables of `policy`, `reload` and `restart` in `mpchat/supervisor/`, and of",
        "`phases` in `mpchat/websocket/`; an empty cell cannot happen.",
    ]
    for title, columns, rows, table in (
        ("A worker", State, Event, _deeds(policy.TABLE)),
        ("A reload of the dynamic config", reload.Phase, reload.Event, _deeds(reload.TABLE)),
        ("A restart", restart.Phase, restart.Event, _deeds(restart.TABLE)),
        ("A WebSocket connection", phases.Phase, phases.Event, _steps()),
    ):
        lines += ["", f"## {title}", "", *_grid(columns, rows, table)]
    lines += ["", "## A client's socket until it is a WebSocket", ""]
    lines += ["These are the tables of `stages` in `mpchat/server/`.", "", *_stages()]
    return "\n".join(lines) + "\n"


def _deeds(table: Mapping[Any, Callable[..., Any]]) -> dict[Any, str]:
    """Return cells that are functions as the names of those."""
    return {key: _words(cell.__name__.strip("_")) for key, cell in table.items()}


def _steps() -> dict[Any, str]:
    """Return the cells of a connection: what is done, and the next phase if it is another."""
    found = {}
    for (phase, event), cell in phases.TABLE.items():
        done = ", ".join(_words(action.name.lower()) for action in cell.actions) or "nothing"
        next_phase = "" if cell.phase is phase else f" → **{cell.phase.name.lower()}**"
        found[phase, event] = done + next_phase
    return found


def _stages() -> Iterator[str]:
    """Return the table of stages."""
    yield "| Stage | What may follow | A client that takes too long | Counted as |"
    yield "| --- | --- | --- | --- |"
    for stage, after in stages.NEXT.items():
        later = ", ".join(_named(found) for found in sorted(after - {stage}))
        timeout = stages.TIMEOUTS.get(stage)
        end = _words(timeout.end.name.lower()) if timeout is not None else ""
        limit = f"`{timeout.limit}`" if timeout is not None and timeout.limit else ""
        yield f"| {_named(stage)} | {later} | {end} | {limit} |"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _grid(
    columns: type[enum.Enum],
    rows: type[enum.Enum],
    table: Mapping[tuple[Any, Any], str],
) -> Iterator[str]:
    """Return a table of cells, without states in which nothing can happen."""
    states = [state for state in columns if any((state, event) in table for event in rows)]
    yield f"| | {' | '.join(_named(state) for state in states)} |"
    yield f"| --- |{' --- |' * len(states)}"
    for event in rows:
        cells = [table.get((state, event), "") for state in states]
        yield f"| {_named(event)} | {' | '.join(cells)} |"


def _named(member: enum.Enum) -> str:
    return member.value if isinstance(member.value, str) else _words(member.name.lower())


def control_socket() -> str:
    """Return the page of the control socket, written by hand except for its tables of counters."""
    text = (FOLDER / "control-socket.md").read_text()
    before, rest = text.split(COUNTERS_BEGIN)
    after = rest.split(COUNTERS_END)[1]
    tables = [
        "| Counter | Kind | Unit | Meaning |",
        "| --- | --- | --- | --- |",
        *(f"| `{m.name}` | {m.kind} | {m.unit} | {m.help} |" for m in _metrics((*TOTALS, *GAUGES))),
        "",
        "| Limit | Unit | Meaning |",
        "| --- | --- | --- |",
        *(f"| `{m.name}` | {m.unit} | {m.help} |" for m in _metrics(LIMITS)),
    ]
    return "\n".join([f"{before}{COUNTERS_BEGIN}", "", *tables, "", f"{COUNTERS_END}{after}"])


def _metrics(names: Iterable[str]) -> list[Metric]:
    by_name = {metric.name: metric for metric in TABLE}
    return [by_name[name] for name in names]


def handlers() -> str:
    """Return the page of the authors' base classes and functions."""
    lines = [NOTE.replace("models", "docstrings"), "# Handlers and components", ""]
    lines += [HANDLERS_INTRODUCTION, *_reference(REFERENCE)]
    example = (FOLDER / "examples" / "orders.py").read_text()
    example = example[example.index("class Orders") : example.index("if __name__")].strip()
    metrics = METRICS_INTRODUCTION.format(example=example, values=MAX_VALUES)
    lines += ["## Metrics", "", metrics, *_reference(METRICS)]
    lines += ["## Exceptions", "", "The first five are those of `websockets`.", ""]
    lines += ["| Exception | Raised when |", "| --- | --- |"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in EXCEPTIONS]
    lines += [f"| `{error.__name__}` | {_summary(error)} |" for error in ROOM_ERRORS]
    return "\n".join(lines) + "\n"


def _reference(items: tuple[tuple[Any, set[str]], ...]) -> list[str]:
    """Return functions and classes with their members."""
    lines: list[str] = []
    for item, internal in items:
        package = "metrics." if item.__module__.startswith("mpchat.metrics.") else ""
        if inspect.isfunction(item):
            lines += [f"## `{package}{_signature(item)}`", "", *_docstring(item)]
            continue
        own = [base for base in item.__bases__ if base.__module__.startswith("mpchat.")]
        told = [part for part, _internal in items]
        bases = [base.__name__ for base in own if base in told]
        # Authors see the members of a base that has no section as those of the class.
        parts = [base for base in own if base not in told]
        lines += [f"## `{package}{item.__name__}`", ""]
        lines += [f"Derived from {', '.join(f'`{base}`' for base in bases)}.", ""] if bases else []
        lines += _docstring(item)
        members = [found for part in (*parts, item) for found in vars(part).items()]
        for name, member in members:
            function = _getter(member)
            if name in internal or not inspect.isfunction(function):
                continue
            if not _is_documented(name, function):
                continue
            title = _signature(function) if member is function else name
            lines += [f"### `{title}`", "", *_docstring(function)]
    return lines


def _getter(member: Any) -> Any:
    """Return the function behind a property, or the member itself."""
    if isinstance(member, cached_property):
        return member.func
    return member.fget if isinstance(member, property) else member


def _is_documented(name: str, function: Callable[..., Any]) -> bool:
    """Return whether the page has a member: public ones, and special ones with a docstring."""
    special = name in {"__init__", "__getitem__", "__aiter__"} and function.__doc__ is not None
    return special or not name.startswith("_")


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parameters = [
        item.replace(annotation=_Annotation(item.annotation))
        for item in signature.parameters.values()
        if item.name != "self"
    ]
    result = _Annotation(signature.return_annotation)
    text = str(signature.replace(parameters=parameters, return_annotation=result))
    text = text.replace("Ellipsis", "...")
    return f"{'async ' if inspect.iscoroutinefunction(function) else ''}{function.__name__}{text}"


class _Annotation(str):
    """A type as written in the source, which ``inspect`` would show in quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def _docstring(item: Any) -> list[str]:
    """Return a docstring as Markdown: sections become lists, ``code`` becomes `code`."""
    lines: list[str] = []
    in_section = False
    for line in (inspect.getdoc(item) or "").replace("``", "`").splitlines():
        if re.fullmatch(r"(Raises|Attributes):", line):
            in_section = True
            lines += [line, ""]
        elif in_section and (found := re.match(r"    ([\w., ]+): (.*)", line)):
            lines.append(f"- `{found[1]}`: {found[2]}")
        elif in_section and line:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return [*lines, ""]


def _default(info: FieldInfo) -> str:
    """Return a default in the form of the config."""
    if info.is_required():
        return "required"
    default = info.get_default(call_default_factory=True)
    if isinstance(info.json_schema_extra, dict):
        default = info.json_schema_extra.get("default", default)
    if isinstance(default, BaseModel):
        return "see below"
    if isinstance(default, str):
        return f"`{default}`"
    if isinstance(default, float) and _is_duration(info):
        milliseconds = round(default * 1000)
        seconds, rest = divmod(milliseconds, 1000)
        return f"`{milliseconds}ms`" if rest else f"`{seconds}s`"
    value = TypeAdapter(Any).dump_python(default, mode="json", by_alias=True, exclude_unset=True)
    return f"`{json.dumps(value)}`"


def _is_duration(info: FieldInfo) -> bool:
    return any(getattr(item, "func", None) is parse_duration for item in info.metadata)


PAGES = {
    "configuration.md": configuration,
    "metrics.md": metrics,
    "operations.md": operations,
    "states.md": states,
    "control-socket.md": control_socket,
    "handlers.md": handlers,
}


def main() -> int:
    """Write the pages or, with --check, compare them with the files."""
    if mpchat.FORM.compiled:
        # Signatures and docstrings are those of the Python source.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, SWITCH: "0"})
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
