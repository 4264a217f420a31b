"""Verdicts, tables and the page: pure functions of the JSON document."""

from __future__ import annotations

import textwrap
from pathlib import Path
from statistics import median
from typing import Any

from ..report import number, table, table_of
from ..results import Results
from ..rows import Row
from ..servers import BASE_TLS, CERTIFICATE, KEY, OURS, Server
from ..storm.measuring import CONNECTED, RATE, Phase
from ..storm.report import per_second, waited_us
from .rows import AFTER, IDLE, ROWS, SMALL
from .storm import AT_ONCE, STORMED, Storm

Document = dict[str, Any]
"""One run: what it ran on, ``samples`` and ``storms``"""

TEMPLATE = Path(__file__).with_name("page.md")
WIDTH = 118
MOST_TIMES = 1.3
"""The most that 32 bytes may cost, as times uvloop's TLS echo"""
MOST_KIB = 20.0
"""The most that an idle connection may take, with the state of its WebSocket"""
BESIDE = ("uvicorn", "granian")
"""Those that a row has to be ahead of"""


def verdicts(document: Document) -> dict[str, bool]:
    """Return what is asked of TLS, and whether it is so, as far as it was measured."""
    results = Results(document, ROWS, BASE_TLS)
    found = {}
    if (times := results.ratio(SMALL.name, OURS)) is not None:
        text = f"32 bytes cost at most {MOST_TIMES} times uvloop's TLS echo ({number(times)})"
        found[text] = times <= MOST_TIMES
    for row in (IDLE, AFTER):
        if (kib := results.median(row.name, OURS)) is not None:
            found[f"{row.name}: at most {MOST_KIB:g} KiB ({number(kib)})"] = kib <= MOST_KIB
    for peer in (server for server in results.servers if server.name in BESIDE):
        behind = [row.name for row in results.rows if _is_behind(results, row, peer)]
        told = f" ({'; '.join(behind)})" if behind else ""
        found[f"ahead of {peer.name} in each row{told}"] = not behind
    ours, peers = _storm_p99_ms(document, OURS.name), []
    if ours is not None:
        peers = [p99 for name in BESIDE if (p99 := _storm_p99_ms(document, name)) is not None]
    if ours is not None and peers:
        text = f"the connected wait less than beside each of them ({number(ours)} ms)"
        found[f"while ClientHellos come, {text}"] = ours < min(peers)
    return found


def tables(document: Document) -> str:
    """Return the verdicts and all tables."""
    results = Results(document, ROWS, BASE_TLS)

    def cost(row: Row, server: Server) -> str:
        return number(results.median(row.name, server))

    def compared(row: Row, server: Server) -> str:
        return number(results.compared(row, server))

    messages = [row for row in results.rows if row.kind == "message"]
    handshakes = [row for row in results.rows if row.kind == "handshake"]
    memory = [row for row in results.rows if row.memory]
    judged = verdicts(document).items()
    parts = [
        "\n".join(f"- {'Yes' if is_so else '**No**'}: {what}." for what, is_so in judged),
        table_of(results, "CPU of an echo, times uvloop's TLS echo", messages, compared),
        table_of(results, "CPU of an echo, µs", messages, cost),
        table_of(results, "CPU of a connection that comes and goes, µs", handshakes, cost),
        table_of(results, "Memory per connection, KiB", memory, cost),
        _storm_table(document["storms"]),
    ]
    return "\n\n".join(part for part in parts if part)


def _is_behind(results: Results, row: Row, peer: Server) -> bool:
    ratio = results.ratio(row.name, peer, OURS)
    return ratio is not None and ratio <= 1


def _storm_p99_ms(document: Document, server: str) -> float | None:
    found = [
        waited_us(storm["storm"], "p99_us") / 1000
        for storm in document["storms"]
        if storm["server"] == server
    ]
    return median(found) if found else None


def _storm_table(storms: list[Storm]) -> str:
    of = {
        server.name: [storm for storm in storms if storm["server"] == server.name]
        for server in STORMED
    }
    of = {name: found for name, found in of.items() if found}
    if not of:
        return ""
    title = "Answers while ClientHellos come, p50 / p99, ms"
    lines = [
        ["before", *(_milliseconds([storm["quiet"] for storm in found]) for found in of.values())],
        [
            "meanwhile",
            *(_milliseconds([storm["storm"] for storm in found]) for found in of.values()),
        ],
    ]
    for name, what in {"ClientHellos answered a second": "taken", "given up": "given_up"}.items():
        counts = (
            median(per_second(storm["storm"], what) for storm in found) for found in of.values()
        )
        lines.append([name, *(f"{count:,.0f}" for count in counts)])
    return table([title, *of], lines)


def _milliseconds(phases: list[Phase]) -> str:
    both = (median(waited_us(phase, what) for phase in phases) for what in ("p50_us", "p99_us"))
    return " / ".join(number(value / 1000) for value in both)


def page(document: Document) -> str:
    """Return docs/benchmark-tls.md."""
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    told = (
        f"Measured on {document['date']}, on {document['cpu']}, {document['kernel']}, with"
        f" {document['python']}, {document['openssl']}. mpchat is {document['mpchat']}. {versions}."
        f" Load average before the run: {document['load']}."
    )
    return TEMPLATE.read_text().format(
        told=textwrap.fill(told, WIDTH, break_on_hyphens=False),
        tables=tables(document),
        connected=CONNECTED,
        rate=f"{RATE:,}",
        at_once=AT_ONCE,
        commands="\n".join(f"  - {name}: `{line}`" for name, line in document["servers"].items()),
        certificate=CERTIFICATE,
        key=KEY,
    )
