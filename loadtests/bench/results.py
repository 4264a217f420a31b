"""What was measured, as docs/benchmark.json has it, seen as medians.

A document has ``runs``, one for each machine and interpreter. What is read of a run: ``cpu``,
``kernel``, ``python``, ``date``, ``mpchat`` (compiled or interpreted), ``versions``, ``missing`` (what
could not be measured, and why), ``samples``, and ``upper_us`` (what ``.upper()`` takes by itself, by row
of text). The rest tells how to measure again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from statistics import median
from typing import Any

from .rows import ROWS, Row
from .servers import BASE, ECHO, OURS, SERVERS, UPPER, Server

Run = dict[str, Any]
Document = dict[str, list[Run]]
Sample = dict[str, Any]


def merged(document: Document, run: Run, *, add: bool) -> Document:
    """Put a run in the place of the last one of that machine and interpreter, or behind all others.

    Args:
        document: What was measured before.
        run: What was measured now.
        add: Keep the rows that were not measured now, if they are of the same releases and the same
            form of mpchat.
    """
    runs = list(document["runs"])
    place = next((at for at, old in enumerate(runs) if key(old) == key(run)), None)
    if place is None:
        return {"runs": [*runs, run]}
    runs[place] = _together(runs[place], run) if add and _alike(runs[place], run) else run
    return {"runs": runs}


def dumped(document: Document) -> str:
    """Return a document as JSON, with a line for each sample."""
    text = json.dumps(document, indent=1)
    return (
        re.sub(r"\{\s*(\"row\": [^{}]*)\}", lambda found: f"{{{_in_a_line(found[1])}}}", text)
        + "\n"
    )


def _in_a_line(text: str) -> str:
    return re.sub(r"\n\s*", " ", text).strip()


def key(run: Run) -> tuple[str, str]:
    """Return what a run is kept under."""
    return run["cpu"], run["python"]


def _alike(old: Run, new: Run) -> bool:
    both = set(old["versions"]) & set(new["versions"])
    same = all(old["versions"][name] == new["versions"][name] for name in both)
    return same and bool(old["mpchat"] == new["mpchat"])


def _together(old: Run, new: Run) -> Run:
    measured = {sample["row"] for sample in new["samples"]}
    kept = [sample for sample in old["samples"] if sample["row"] not in measured]
    both = {name: {**old[name], **new[name]} for name in ("loads", "upper_us", "servers")}
    both["versions"] = {**old["versions"], **new["versions"]}
    dates = {"oldest": old.get("oldest", old["date"])} if kept else {}
    return {**new, **both, **dates, "samples": kept + new["samples"]}


class Results:
    """The samples of a run, of some rows, whose costs are compared with those of ``base``."""

    def __init__(self, run: Run, rows: Iterable[Row] = ROWS, base: Server = BASE) -> None:
        self._samples: list[Sample] = run["samples"]
        self._base = base
        self.servers = [s for s in SERVERS if any(x["server"] == s.name for x in self._samples)]
        self.rows = [row for row in rows if any(x["row"] == row.name for x in self._samples)]

    def median(self, row: str, server: Server, field: str = "value") -> float | None:
        """Return the median over the rounds, None where that server did not take part."""
        found = [sample.get(field, 0) for sample in self._of(row, server).values()]
        return median(found) if found else None

    def ratio(self, row: str, server: Server, base: Server | None = None) -> float | None:
        """Return the median of the ratios to another server, each taken within one round."""
        others = self._of(row, base or self._base)
        found = [
            sample["value"] / others[number]["value"]
            for number, sample in self._of(row, server).items()
            if number in others
        ]
        return median(found) if found else None

    def compared(self, row: Row, server: Server) -> float | None:
        """Return what rows are compared by.

        CPU time as times that of the base, of a message to two workers as times mpchat's echo; of the
        others the number itself.
        """
        if not row.cpu:
            return self.median(row.name, server)
        return self.ratio(row.name, server, ECHO if row.kind == "spread" else None)

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

    def peers(self, row: Row) -> list[Server]:
        """Return the servers of others that took part, the cheapest first."""
        costs = {
            server: cost
            for server in self.servers
            if not server.mpchat
            and server is not self._base
            and (cost := self.median(row.name, server)) is not None
        }
        return sorted(costs, key=lambda server: costs[server])

    def ahead(self, row: Row) -> dict[Server, float]:
        """Return the peers that cost less than mpchat's echo, with their ratio to it, best first."""
        found = {peer: self.ratio(row.name, peer, OURS) for peer in self.peers(row)}
        less = {peer: ratio for peer, ratio in found.items() if ratio is not None and ratio < 1}
        return dict(sorted(less.items(), key=lambda item: item[1]))

    def _of(self, row: str, server: Server) -> dict[int, Sample]:
        """Return the samples of one server in one row, by round."""
        return {
            sample["round"]: sample
            for sample in self._samples
            if sample["row"] == row and sample["server"] == server.name
        }
