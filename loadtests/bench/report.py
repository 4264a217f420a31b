"""From samples to tables and to docs/benchmark.md: pure functions of the JSON document.

What they use of a document: ``date``, ``machine``, ``versions``, ``samples``, and ``upper_us``: what
``.upper()`` takes by itself, by row of text. The rest tells how to measure again.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from .rows import EACH_READY, EACH_SIZE, ONE_READY, ONE_SIZE, ROWS, Row
from .servers import BASE, SERVERS, Server

Document = dict[str, Any]
Sample = dict[str, Any]
Cell = Callable[[Row, Server], str]

OURS = next(server for server in SERVERS if server.mpchat and not server.upper)
UPPER = next(server for server in SERVERS if server.upper)


class Results:
    """The samples of a document, seen as medians."""

    def __init__(self, document: Document) -> None:
        self._samples: list[Sample] = document["samples"]
        self.servers = [s for s in SERVERS if any(x["server"] == s.name for x in self._samples)]
        self.rows = [row for row in ROWS if any(x["row"] == row.name for x in self._samples)]

    def median(self, row: str, server: Server, field: str = "value") -> float | None:
        """Return the median over the rounds, None where that server did not take part."""
        found = [sample[field] for sample in self._of(row, server).values()]
        return median(found) if found else None

    def ratio(self, row: str, server: Server, base: Server = BASE) -> float | None:
        """Return the median of the ratios to another server, each taken within one round."""
        others = self._of(row, base)
        found = [
            sample["value"] / others[number]["value"]
            for number, sample in self._of(row, server).items()
            if number in others
        ]
        return median(found) if found else None

    def beyond_upper(self, row: str, upper_us: float) -> float | None:
        """Return how many times our echo the handler that answers in capitals costs.

        What ``.upper()`` takes by itself is left out; the pairs are of one round.
        """
        echo, upper = self._of(row, OURS), self._of(row, UPPER)
        found = [
            (sample["value"] - upper_us) / echo[number]["value"]
            for number, sample in upper.items()
            if number in echo
        ]
        return median(found) if found else None

    def ahead(self, row: Row) -> dict[Server, float]:
        """Return the peers that cost less than mpchat's echo, with their ratio to it, best first."""
        found = {}
        for server in self.servers:
            ratio = self.ratio(row.name, server, OURS)
            if ratio is not None and ratio < 1 and not server.mpchat and server is not BASE:
                found[server] = ratio
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def _of(self, row: str, server: Server) -> dict[int, Sample]:
        """Return the samples of one server in one row, by round."""
        return {
            sample["round"]: sample
            for sample in self._samples
            if sample["row"] == row and sample["server"] == server.name
        }


def machine() -> str:
    """Return what the benchmark runs on."""
    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    return f"{cpu}, Linux {platform.release()}"


def versions() -> dict[str, str]:
    """Return the versions of Python and of all that takes part."""
    names = dict.fromkeys([server.package for server in SERVERS] + ["aiofastnet", "httptools"])
    found = {name: metadata.version(name) for name in names}
    return {"Python": platform.python_version(), **found}


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


def _table_of(results: Results, title: str, rows: list[Row], cell: Cell) -> str:
    servers = [s for s in results.servers if any(cell(row, s) != "-" for row in rows)]
    lines = [[row.name, *(cell(row, server) for server in servers)] for row in rows]
    return table([title, *(server.name for server in servers)], lines) if rows else ""


def tables(document: Document) -> str:
    """Return all tables of a document."""
    results = Results(document)

    def cost(row: Row, server: Server) -> str:
        return number(results.median(row.name, server))

    def ratio(row: Row, server: Server) -> str:
        return number(results.ratio(row.name, server))

    def latency(row: Row, server: Server) -> str:
        p50, p99 = (results.median(row.name, server, f) for f in ("p50_us", "p99_us"))
        return "-" if p50 is None or p99 is None else f"{p50:.0f} / {p99:.0f}"

    cpu = [row for row in results.rows if row.cpu]
    timed = [row for row in cpu if row.connections == 1]
    timed += [row for row in results.rows if row.kind == "flood"]
    memory = [row for row in results.rows if row.memory]
    parts = [
        _table_of(results, "CPU, times that of bare uvloop TCP", cpu, ratio),
        _table_of(results, "CPU, µs", cpu, cost),
        _table_of(results, "Latency, µs, p50 / p99", timed, latency),
        _table_of(results, "Memory per connection, KiB", memory, cost),
    ]
    parts.append(_outside(results, document["upper_us"]))
    service = [
        [name, number(value)]
        for name in (ONE_READY, EACH_READY, ONE_SIZE, EACH_SIZE)
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


def _behind(results: Results) -> str:
    """Say in which rows a peer is ahead, and by how much."""
    lines = [
        f"- {row.name}: " + ", ".join(f"{peer.name} {number(part)}" for peer, part in ahead.items())
        for row in results.rows
        if (ahead := results.ahead(row))
    ]
    return "\n".join(lines) or "Nowhere in this run."


def page(document: Document) -> str:
    """Return docs/benchmark.md."""
    results = Results(document)
    versions_line = ", ".join(f"{name} {text}" for name, text in document["versions"].items())
    return PAGE.format(
        date=document["date"],
        machine=document["machine"],
        versions=versions_line,
        tables=tables(document),
        behind=_behind(results),
    )


PAGE = """\
<!-- Printed by loadtests/bench (make bench). -->

# Benchmark

The cost of an echoed message on mpchat, and on the servers that one could choose instead. Measured on
{date}, on {machine}, with {versions}.

![CPU per message and memory per connection](benchmark.svg)

## How it is measured

A server has one core for itself, the load client has another. The cost is the CPU time that the
scheduler charged all threads of all processes of the server, including mpchat's supervisor: waiting
costs nothing, and the client does not count. The servers of a row run side by side and take turns
in each of several rounds. Ratios are taken within a round, and every number is the median over the
rounds. The client compares every byte of the answers; it costs about as much as bare TCP, which is
also in the samples. With 64 or more messages in flight, the client does not wait for answers but
polls every 20 µs: a server must wake a waiting client, and the kernel charges that to the server,
more often to a slower one. Memory is PSS, of a fresh server for each sample.

- mpchat is `mpchat serve` with one worker and its shipped defaults: limits, counters, keepalive and
  all checks are on, the log level is warning. For messages over 64 KiB, `max-remote-payload` and
  `fragment-size` are raised.
- The others run an echo as their authors write it, on uvloop, without compression and access log.
- uvloop TCP speaks no WebSocket: it returns the bytes unchanged, and all others are compared with it.
- picows callbacks runs no coroutine: it answers each frame inside the callback.
- mpchat, upper is a handler from outside the package that answers in capitals.

Payloads are random bytes, or ASCII in rows of text. A handshake is connect, upgrade, and close with
its handshake. In the row with a flood, the first of 101 connections sends as fast as its socket takes
and reads its answers; the latency is that of the other hundred. All samples and every command line
are in [benchmark.json](benchmark.json). `make bench` measures again; `make bench-quick` takes two
minutes.

## Results

{tables}

## Where another server is ahead

The cost of its echo, as a fraction of mpchat's in the same rounds.

{behind}
"""
