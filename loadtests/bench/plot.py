"""The plot, written as SVG: one panel for each telling row, one bar for each server."""

from __future__ import annotations

import textwrap
from xml.sax.saxutils import escape

from .report import number
from .results import Document, Results
from .rows import Row
from .servers import BASE, INTERPRETED, OURS, Server

PANELS = (
    "32 B, 64 connections",
    "32 B, 64 with 16 in flight",
    "1 KiB, 64 connections",
    "64 KiB, 64 connections",
    "1 MiB, 64 connections",
    "Handshake",
    "Idle connection, of 5,000",
    "Held after an echo of 1 MiB, of 500",
)
COLUMNS = 2
WIDTH, TOP, PAD = 960, 100, 24
BAR, NAMES, VALUES = 18, 132, 90
FAR = 8  # times the second
VERSIONS = 130  # characters of small print in a line
COLOURS = {BASE: "#d0d7de", OURS: "#1f6feb", INTERPRETED: "#79b0f5"}
PEER = "#8c959f"


def plot(document: Document) -> str:
    """Return the plot of the run whose mpchat costs most in the first panel.

    Runs that lack a panel are passed over, unless all do; panels that the run lacks are left out.
    """
    runs = [(Results(run), run) for run in document["runs"]]
    full = [(found, run) for found, run in runs if set(PANELS) <= {row.name for row in found.rows}]
    results, run = max(full or runs, key=lambda pair: pair[0].ratio(PANELS[0], OURS) or 0)
    rows = [row for name in PANELS for row in results.rows if row.name == name]
    most = max((len(_bars(results, row)) for row in rows), default=0)
    panel_height = PAD + most * BAR + PAD
    height = TOP + -(-len(rows) // COLUMNS) * panel_height
    told = ", ".join(f"{name} {version}" for name, version in sorted(run["versions"].items()))
    small = textwrap.wrap(told, VERSIONS)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" font-family="system-ui, sans-serif" font-size="12" fill="#1f2328">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(
            PAD,
            30,
            "Cost of an echo on one core: shorter is better (in brackets: times uvloop TCP)",
            'font-size="17"',
        ),
        _text(
            PAD,
            50,
            f"{run['date']}, {run['cpu']}, {run['kernel']}, {run['python']}; mpchat {run['mpchat']}",
        ),
        *(
            _text(PAD, 68 + 16 * index, line, 'font-size="11" fill="#59636e"')
            for index, line in enumerate(small)
        ),
    ]
    panel_width = (WIDTH - PAD) // COLUMNS
    for index, row in enumerate(rows):
        x = PAD + index % COLUMNS * panel_width
        y = TOP + index // COLUMNS * panel_height
        lines += _panel(results, row, x, y, panel_width - PAD)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bars(results: Results, row: Row) -> list[tuple[Server, float]]:
    costs = [(server, results.median(row.name, server)) for server in results.servers]
    found = [(server, cost) for server, cost in costs if cost is not None]
    return sorted(found, key=lambda bar: bar[1])


def _panel(results: Results, row: Row, x: int, y: int, width: int) -> list[str]:
    title = f"{row.name}: {'memory' if row.memory else 'CPU'} in {row.unit}"
    lines = [_text(x, y + PAD, title, 'font-weight="600"')]
    bars = _bars(results, row)
    longest = _longest([cost for _, cost in bars])
    room = width - NAMES - VALUES
    for index, (server, cost) in enumerate(bars):
        top = y + PAD + 8 + index * BAR
        length = max(1.0, room * min(cost, longest) / longest)
        ratio = None if row.memory else results.ratio(row.name, server)
        told = number(cost) + ("" if ratio is None else f" ({number(ratio)})")
        lines += [
            _text(x + NAMES - 6, top + 13, server.name, 'text-anchor="end"'),
            f'<rect x="{x + NAMES}" y="{top + 2}" width="{length:.1f}" height="{BAR - 5}"'
            f' fill="{COLOURS.get(server, PEER)}"/>',
            _text(x + NAMES + length + 5, top + 13, told),
        ]
        if cost > longest:
            at = x + NAMES + length - 14
            lines.append(
                f'<path d="M{at:.1f} {top + BAR - 1} l6 {-BAR}" stroke="#ffffff" stroke-width="3"/>'
            )
    return lines


def _longest(costs: list[float]) -> float:
    """Return the cost of the longest bar: one that is far beyond all others is cut."""
    *others, most = costs
    return 1.2 * others[-1] if others and most > FAR * others[-1] else most


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y}" {more}>{escape(text)}</text>'
