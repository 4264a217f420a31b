"""From samples to tables: pure functions of a run in docs/benchmark.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .results import Results, Run
from .rows import OF_WORKERS, Row
from .servers import OURS, UPPER, Server

Cell = Callable[[Row, Server], str]


def number(value: float | None) -> str:
    """Return a value to three digits or so; a dash where there is none."""
    if value is None:
        return "-"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def table(heads: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table whose columns are aligned, fit for a terminal, too."""
    cells = [list(heads), *map(list, lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in cells]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])


def table_of(results: Results, title: str, rows: list[Row], cell: Cell) -> str:
    """Return a table of rows by the servers that have something in one of them; "" without rows."""
    servers = [s for s in results.servers if any(cell(row, s) != "-" for row in rows)]
    lines = [[row.name, *(cell(row, server) for server in servers)] for row in rows]
    return table([title, *(server.name for server in servers)], lines) if rows else ""


def tables(run: Run) -> str:
    """Return all tables of a run."""
    results = Results(run)

    def cost(row: Row, server: Server) -> str:
        return number(results.median(row.name, server))

    def compared(row: Row, server: Server) -> str:
        return number(results.compared(row, server))

    def latency(row: Row, server: Server) -> str:
        p50, p99 = (results.median(row.name, server, f) for f in ("p50_us", "p99_us"))
        return "-" if p50 is None or p99 is None else f"{p50:.0f} / {p99:.0f}"

    def wire(row: Row, server: Server) -> str:
        return number(results.median(row.name, server, "wire_bytes") or None)

    cpu = [row for row in results.rows if row.cpu and not row.in_room]
    deliveries = [row for row in results.rows if row.kind in {"room", "delivery"}]
    rooms = [row for row in results.rows if row.kind == "room"]
    spread = [row for row in results.rows if row.kind == "spread"]
    joined = [row for row in results.rows if row.kind == "joined"]
    rest = [row for row in results.rows if row.kind == "rest"]
    compressed = [row for row in results.rows if row.setting == "deflate"]
    timed = [row for row in cpu if row.connections == 1]
    timed += [row for row in results.rows if row.kind in {"flood", "beside"}]
    memory = [row for row in results.rows if row.memory]
    parts = [
        table_of(results, "CPU, times that of bare uvloop TCP", cpu, compared),
        table_of(results, "CPU, µs", cpu, cost),
        table_of(results, "CPU, ms", rest, cost),
        table_of(results, "Bytes of an answer", compressed, wire),
        table_of(results, "Latency, µs, p50 / p99", timed, latency),
        table_of(results, "Memory per connection, KiB", memory, cost),
        table_of(results, "CPU of a delivery, times that of a bare loop", deliveries, compared),
        table_of(results, "CPU of a delivery, µs", deliveries, cost),
        table_of(results, "CPU of a message, times mpchat's echo", spread, compared),
        table_of(results, "CPU of a message, µs", spread, cost),
        table_of(results, "Until the last member has it, µs, p50 / p99", rooms, latency),
        table_of(results, "Memory per membership, bytes", joined, cost),
    ]
    parts.append(_outside(results, run["upper_us"]))
    service = [
        [name, number(value)]
        for name in OF_WORKERS
        if (value := results.median(name, OURS)) is not None
    ]
    if service:
        parts.append(table(["The service on all cores", OURS.name], service))
    return "\n\n".join(part for part in parts if part)


def _outside(results: Results, upper_us: dict[str, float]) -> str:
    """Compare our echo with the handler from outside the package."""
    lines = [
        [name, *map(number, (results.median(name, OURS), results.median(name, UPPER), us, times))]
        for name, us in upper_us.items()
        if (times := results.beyond_upper(name, us)) is not None
    ]
    heads = ["CPU, µs", OURS.name, UPPER.name, ".upper() alone", "the rest, times mpchat"]
    return table(heads, lines) if lines else ""
