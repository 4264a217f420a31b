"""docs/benchmark.md and README's paragraph, of all runs in docs/benchmark.json."""

from __future__ import annotations

import textwrap
from pathlib import Path

from .report import number, table, tables
from .results import Document, Results, Run
from .rows import ROWS, Row
from .servers import OURS

TEMPLATE = Path(__file__).with_name("page.md")
MARKS = ("<!-- Printed by make bench. -->\n\n", "\n\n<!-- As far as this. -->")
WIDTH = 118
SMALL, MANY, IDLE, ROOM = (
    next(row for row in ROWS if row.name == name)
    for name in (
        "32 B, 64 connections",
        "32 B, 64 with 16 in flight",
        "Idle connection, of 5,000",
        "64 B to 1,000 members",
    )
)
FEW = 2  # rows that are named, not counted


def page(document: Document) -> str:
    """Return docs/benchmark.md."""
    return TEMPLATE.read_text().format(
        short=in_short(document),
        beside=_side_by_side(document["runs"]),
        runs="\n\n".join(map(_section, document["runs"])),
    )


def with_paragraph(readme: str, document: Document) -> str:
    """Return README with this document's paragraph."""
    begin, end = MARKS
    before, _, rest = readme.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{in_short(document)}{end}{after}"


def in_short(document: Document) -> str:
    """Return what holds on every machine of the document, in a few sentences."""
    runs = document["runs"]
    small, small_peers = _worst(runs, SMALL)
    many, many_peers = _worst(runs, MANY)
    idle, idle_peers = _worst(runs, IDLE)
    room, room_peers = _worst(runs, ROOM)
    parts = [
        f"On every machine measured, an echo of 32 bytes on 64 connections costs at most {small} times"
        f" one of bare TCP{small_peers}; with 16 messages in flight on each, {many} times"
        f"{many_peers}. An idle connection takes at most {idle} KiB{idle_peers}.",
        f"A message to a room of 1,000 costs {room} times a bare loop that writes to each{room_peers}."
        if room != "-"
        else "",
        _who_is_ahead(runs),
    ]
    return textwrap.fill(" ".join(filter(None, parts)), WIDTH, break_on_hyphens=False)


def _worst(runs: list[Run], row: Row) -> tuple[str, str]:
    """Return our number where it is highest, and the three cheapest peers there."""
    known = [results for results in map(Results, runs) if results.compared(row, OURS) is not None]
    if not known:
        return "-", ""
    worst = max(known, key=lambda results: results.compared(row, OURS) or 0)
    peers = [f"{s.name} {number(worst.compared(row, s))}" for s in worst.peers(row)[:3]]
    return number(worst.compared(row, OURS)), f" (there {', '.join(peers)})" if peers else ""


def _who_is_ahead(runs: list[Run]) -> str:
    """Name the peers that cost less than mpchat on any of the machines, and how often."""
    all_results = list(map(Results, runs))
    rows = [row for row in ROWS if any(row in results.rows for results in all_results)]
    ahead: dict[str, list[str]] = {}
    for row in rows:
        for peer in dict.fromkeys(s.name for results in all_results for s in results.ahead(row)):
            ahead.setdefault(peer, []).append(row.name)
    if not ahead:
        return "No other server costs less in any row on any machine."
    told = []
    for peer, where in sorted(ahead.items(), key=lambda item: -len(item[1])):
        few = f" ({'; '.join(where)})" if len(where) <= FEW else ""
        told.append(f"{peer} in {len(where)}{few}")
    return f"Of {len(rows)} rows, others still cost less somewhere: {', '.join(told)}."


def _side_by_side(runs: list[Run]) -> str:
    all_results = list(map(Results, runs))
    lines = []
    for row in ROWS:
        cells = [_beside(results, row) for results in all_results]
        if any(cell != "-" for cell in cells):
            lines.append([f"{row.name}{_unit(row)}", *cells])
    return table(["mpchat (the cheapest other)", *map(name, runs)], lines)


def _unit(row: Row) -> str:
    if row.cpu:
        return ", times an echo" if row.kind == "spread" else ""
    return f", {'p99 in ' if row.kind in {'flood', 'beside'} else ''}{row.unit}"


def _beside(results: Results, row: Row) -> str:
    ours = results.compared(row, OURS)
    if ours is None:
        return "-"
    best = "".join(
        f" ({s.name} {number(results.compared(row, s))})" for s in results.peers(row)[:1]
    )
    return number(ours) + best


def name(run: Run) -> str:
    """Return what a run is called: its processor, and its Python without the compiler."""
    return f"{run['cpu']}, {run['python'].partition(',')[0]}"


def _dates(run: Run) -> str:
    """Return when a run was measured, to which rows of earlier ones may have been kept."""
    date, oldest = run["date"], run.get("oldest", run["date"])
    return date if oldest == date else f"{date} (rows that were kept: from {oldest} on)"


def _section(run: Run) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in run["versions"].items())
    told = [
        f"Measured on {_dates(run)}, on {run['cpu']}, {run['kernel']}, with {run['python']}."
        f" mpchat is {run['mpchat']}. {versions}."
    ]
    told += [f"Not measured: {what} ({why})." for what, why in run["missing"].items()]
    return "\n\n".join(
        [
            f"## {name(run)}",
            textwrap.fill(" ".join(told), WIDTH, break_on_hyphens=False),
            tables(run),
            "Where another server is ahead: the cost of its echo, as a fraction of mpchat's in the"
            " same rounds.",
            _behind(Results(run)),
        ]
    )


def _behind(results: Results) -> str:
    """Say in which rows a peer is ahead, and by how much."""
    lines = [
        f"- {row.name}: " + ", ".join(f"{peer.name} {number(part)}" for peer, part in ahead.items())
        for row in results.rows
        if (ahead := results.ahead(row))
    ]
    return "\n".join(lines) or "Nowhere in this run."
