"""The screens of ``mpchat top``, as lines of text with styles.

Rules. Pure: what was seen and chosen in, lines out. Words of clients and authors are made harmless before
they are shown. Nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from rich.text import Text

from mpchat.cli.quantities import count, duration, number, size
from mpchat.cli.top.choices import Choices
from mpchat.cli.top.columns import CONNECTIONS, WORKERS, Table
from mpchat.cli.top.drawing import Size, packed
from mpchat.cli.top.history import Limit, Seen
from mpchat.cli.top.tables import LEAST_SPARKLINE, Details, connections, overview
from mpchat.scoreboard.heartbeat import SILENT_SECONDS

_MOST_SPARKLINE = 60
_WATCHING = "q quit, ? help, Enter connections, ↑↓ worker, ←→ sort, r reverse, p pause"
_SCROLLING = "q quit, ? help, Esc back, ↑↓ scroll, ←→ sort, r reverse, p pause"
"""The keys, the most important ones first: a narrow terminal shows those"""
KEYS = (
    ("up, down", "another worker; among connections: scroll"),
    ("left, right", "sort by another column"),
    ("a letter", "sort by its column; again, or r: the other way round"),
    ("Enter, Esc", "the connections of a worker, and back"),
    ("p", "stop what is shown, and let it go on"),
    ("?", "these keys, and the columns with their letters"),
    ("q", "quit"),
)


@dataclass(frozen=True)
class Shown:
    """Everything that a screen is made of.

    Attributes:
        trouble: Why the service does not answer, and since when; empty if it does.
    """

    seen: Seen
    details: Details = field(default_factory=Details)
    trouble: str = ""


def draw(shown: Shown, choices: Choices, within: Size) -> list[Text]:
    """Return the lines of the screen, from its top."""
    if choices.has_help:
        table = WORKERS if choices.opened is None else CONNECTIONS
        return _filled(list(_help(table)), "any key: back", within)
    lines = _head(shown, choices, within)
    left = within
    if within.height is not None:
        lines = lines[: max(1, within.height // 3)]
        left = replace(within, height=within.height - len(lines) - 1)
    if choices.opened is None:
        lines += overview(shown.seen, shown.details, choices, left)
        return _filled(lines, _WATCHING, within)
    lines += connections(shown.seen, shown.details, choices, choices.opened, left)
    return _filled(lines, _SCROLLING, within)


def _filled(lines: list[Text], keys: str, within: Size) -> list[Text]:
    """Return lines that fill the height, the last of which names the keys."""
    if within.height is None:
        return lines
    if not within.has_blocks:
        keys = keys.replace("↑↓", "up/down").replace("←→", "left/right")
    footer = packed((Text(key, style="dim") for key in keys.split(", ")), within.width)[0]
    lines = lines[: max(0, within.height - 1)]
    lines += [Text() for _ in range(within.height - 1 - len(lines))]
    return [*lines, footer]


def _head(shown: Shown, choices: Choices, within: Size) -> list[Text]:
    """Return the lines about the service as a whole."""
    seen, lines = shown.seen, []
    if shown.trouble:
        lines += packed([Text(" ".join(shown.trouble.split()), style="bold red")], within.width)
    lines += packed(_service(seen, choices), within.width)
    lines += packed(_events(seen), within.width)
    lines += packed(_traffic(seen), within.width)
    room = min(_MOST_SPARKLINE, within.width - lines[-1].cell_len - 2)
    if room >= LEAST_SPARKLINE:
        most = max((value for _at, value in seen.total), default=0.0)
        lines[-1].append("  ").append(within.sparkline(seen.total, seen.at, room, most), "cyan")
    if seen.limits:
        lines += packed([Text("limits:"), *map(_limit, seen.limits)], within.width)
    return lines


def _service(seen: Seen, choices: Choices) -> Iterator[Text]:
    answer = seen.answer
    yield Text(f"mpchat {answer['version']}", style="bold")
    yield Text(answer["address"])
    yield Text(f"up {duration(answer['uptime_seconds'])}")
    yield Text(f"pid {answer['pid']}")
    yield Text(f"generation {answer['generation']}")
    silent = answer["silent_seconds"]
    if silent is not None and silent > SILENT_SECONDS:
        yield Text(f"supervisor silent for {duration(silent)}", style="bold red")
    if answer["faults"]:
        yield Text(f"{count(answer['faults'], 'fault')}: see the log", style="bold red")
    if choices.is_paused:
        yield Text("PAUSED", style="bold reverse")


def _events(seen: Seen) -> Iterator[Text]:
    totals = seen.answer["totals"]
    yield Text(count(totals["connections"], "connection"))
    for name in ("handshakes", "closed", "requests"):
        yield Text(f"{number(totals[name])} {name}/s")
    yield Text(f"{number(totals['refused'])} refused/s", "yellow" if totals["refused"] else "")
    if others := totals["waiting"]:
        yield Text(count(others, "other socket"))
    if lost := totals["log_lines_dropped"]:
        yield Text(f"{count(lost, 'log line')} lost", style="bold red")


def _traffic(seen: Seen) -> Iterator[Text]:
    totals = seen.answer["totals"]
    for way, to in (("received", "in"), ("sent", "out")):
        messages, octets = number(totals[f"messages_{way}"]), size(totals[f"bytes_{way}"])
        yield Text(f"{messages} messages/s {to} ({octets}/s)")


def _limit(limit: Limit) -> Text:
    if not limit.lately:
        return Text(f"{limit.name} {limit.count}")
    return Text(f"{limit.name} {limit.count}, {limit.lately} of them lately", style="bold yellow")


def _help(table: Table) -> Iterator[Text]:
    yield Text("Keys", style="bold")
    for key, meaning in KEYS:
        yield Text.assemble((f"  {key:<12}", "bold"), meaning)
    yield Text("Columns", style="bold")
    for column in table.columns:
        name = f"  {column.letter or ' '} {column.title:<9} "
        yield Text.assemble((name, "bold"), column.help)
