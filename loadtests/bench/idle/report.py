"""From the JSON document to docs/benchmark-idle.md: pure functions, except ``surroundings``."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import environment
from ..report import number, table

Document = dict[str, Any]
Row = dict[str, Any]

TEMPLATE = Path(__file__).with_name("page.md")
_TITLES = {"most": "as many as there is room for", "cores": "one worker for each core"}
_KIB = 2**20
"""In a GiB"""


def surroundings() -> dict[str, str]:
    """Return what it runs on."""
    here = environment.found_here()
    return {
        "cpu": environment.cpu(),
        "kernel": platform.release(),
        "python": here["python"],
        "form": here["mpchat"],
        "mpchat": here["versions"]["mpchat"],
        "uvloop": here["versions"]["uvloop"],
    }


def per_connection(row: Row, name: str) -> float:
    """Return by how much a reading has grown for each connection, in KiB."""
    grown: int = row["full"][name] - row["base"][name]
    added: int = row["added"]
    return grown / added


def kernel_kib(row: Row) -> float:
    """Return what the kernel has taken for a connection: its objects, and what is queued."""
    return per_connection(row, "slab") + per_connection(row, "buffers")


def all_kib(row: Row) -> float:
    """Return by how much less is available for each connection, without what its client takes."""
    return -per_connection(row, "available") - per_connection(row, "clients")


def _codes(codes: dict[str, int]) -> str:
    told = (f"{codes[code]:,} with {code}" for code in sorted(codes, key=lambda c: -codes[c]))
    return ", ".join(told) or "none"


def _answers(found: dict[str, float]) -> str:
    return " / ".join(number(found[name]) for name in ("p50_ms", "p99_ms", "max_ms"))


def _pings(row: Row) -> str:
    rest = row["rest"]
    return f"{rest['pings_per_second']:,} of {rest['pings_due']:,}"


def _ping_us(row: Row) -> str:
    rest = row["rest"]
    count = rest["pings_per_second"]
    return number(rest["cores"] * 1e6 / count if count else None)


LINES: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("Connections", lambda row: f"{row['reached']:,}"),
    ("Workers", lambda row: str(row["workers"])),
    ("Client processes", lambda row: str(row["clients"])),
    ("**Memory of ours per connection, PSS, KiB**", lambda row: number(per_connection(row, "pss"))),
    ("The same, RSS, KiB", lambda row: number(per_connection(row, "rss"))),
    ("The service before they came, PSS, MiB", lambda row: number(row["base"]["pss"] / 1024)),
    ("The service with all of them, PSS, MiB", lambda row: number(row["full"]["pss"] / 1024)),
    ("The kernel per connection, both ends, KiB", lambda row: number(kernel_kib(row))),
    (
        "The kernel per TCP socket, KiB",
        lambda row: number(
            (row["full"]["slab"] - row["base"]["slab"] + row["full"]["buffers"])
            / (row["full"]["sockets"] - row["base"]["sockets"])
        ),
    ),
    ("All memory per connection, without its client's, KiB", lambda row: number(all_kib(row))),
    ("**CPU at rest, cores**", lambda row: number(row["rest"]["cores"])),
    ("... closed meanwhile", lambda row: _codes(row["rest"]["lost"])),
    ("Pings answered per second, of those due", _pings),
    ("CPU of ours for each, µs", _ping_us),
    ("CPU of the clients at rest, cores", lambda row: number(row["rest"]["client_cores"])),
    ("CPU of the whole machine at rest, cores", lambda row: number(row["rest"]["machine_cores"])),
    ("Answer to a client's ping, p50 / p99 / max, ms", lambda row: _answers(row["ping"])),
    ("Echo on 100 of them, p50 / p99 / max, ms", lambda row: _answers(row["echo"])),
    ("Time to connect all, s", lambda row: number(row["connect_seconds"])),
    ("... closed meanwhile", lambda row: _codes(row["lost"])),
    (
        "Rolling restart: until the verb returns, s",
        lambda row: number(row["restart"]["verb_seconds"]),
    ),
    (
        "... until all old workers are gone and all clients back, s",
        lambda row: number(row["restart"]["seconds"]),
    ),
    ("... closed", lambda row: _codes(row["restart"]["codes"])),
    ("... handshakes that failed", lambda row: f"{row['restart']['refused']:,}"),
    (
        "... memory in addition, at most, GiB",
        lambda row: number((row["full"]["available"] - row["restart"]["least_available"]) / _KIB),
    ),
    ("Time to drain all (stop), s", lambda row: number(row["drain"]["seconds"])),
    ("... closed", lambda row: _codes(row["drain"]["codes"])),
)


def results(document: Document) -> str:
    """Return the table of all rows."""
    rows = document["rows"]
    heads = ["", *(_TITLES[row["name"]] for row in rows)]
    return table(heads, ([title, *map(cell, rows)] for title, cell in LINES))


def page(document: Document) -> str:
    """Return docs/benchmark-idle.md."""
    rows = document["rows"]
    reached = "\n".join(
        f"- {_TITLES[row['name']].capitalize()}: {row['reached']:,} of {document['most']:,};"
        f" {row['stopped']}."
        for row in rows
    )
    first = rows[0]
    slabs = ", ".join(
        f"{name} {kib * 1024 / first['added']:,.0f}" for name, kib in [*first["slabs"].items()][:6]
    )
    lines = sum(row["logged"]["lines"] for row in rows)
    shown = [line for row in rows for line in row["logged"]["first"]][:1]
    logged = f"{lines:,} lines, the first: `{shown[0]}`" if shown else "nothing"
    return TEMPLATE.read_text().format_map(
        document
        | {
            "gib": number(document["memory_kib"] / _KIB),
            "table": results(document),
            "reached": reached,
            "slabs": slabs or "only root may read them",
            "seconds": first["rest"]["seconds"],
            "closes": document["closes_per_second"],
            "logged": logged,
        }
    )
