"""The plot, written as SVG: one panel for each telling row, one bar for each server."""

from __future__ import annotations

from xml.sax.saxutils import escape

from .report import OURS, Document, Results, number
from .rows import Row
from .servers import BASE, Server

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
WIDTH, TOP, PAD = 960, 84, 24
BAR, NAMES, VALUES = 18, 120, 90
COLOURS = {"base": "#d0d7de", "ours": "#1f6feb", "peer": "#8c959f"}


def plot(document: Document) -> str:
    """Return the plot of a document; rows that it lacks are left out."""
    results = Results(document)
    rows = [row for name in PANELS for row in results.rows if row.name == name]
    most = max((len(_bars(results, row)) for row in rows), default=0)
    panel_height = PAD + most * BAR + PAD
    height = TOP + -(-len(rows) // COLUMNS) * panel_height
    versions = document["versions"]
    told = [f"{name} {versions[name]}" for name in sorted(versions) if name != "Python"]
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
        _text(PAD, 50, f"{document['date']}, {document['machine']}, Python {versions['Python']}"),
        _text(PAD, 68, ", ".join(told), 'font-size="11" fill="#59636e"'),
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
    longest = max(cost for _, cost in bars)
    room = width - NAMES - VALUES
    for index, (server, cost) in enumerate(bars):
        top = y + PAD + 8 + index * BAR
        colour = COLOURS["base" if server is BASE else "ours" if server is OURS else "peer"]
        length = max(1.0, room * cost / longest)
        ratio = None if row.memory else results.ratio(row.name, server)
        told = number(cost) + ("" if ratio is None else f" ({number(ratio)})")
        lines += [
            _text(x + NAMES - 6, top + 13, server.name, 'text-anchor="end"'),
            f'<rect x="{x + NAMES}" y="{top + 2}" width="{length:.1f}" height="{BAR - 5}"'
            f' fill="{colour}"/>',
            _text(x + NAMES + length + 5, top + 13, told),
        ]
    return lines


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y}" {more}>{escape(text)}</text>'
