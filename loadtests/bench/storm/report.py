"""Verdicts, tables and the page: pure functions of the JSON document, except ``surroundings``."""

from __future__ import annotations

import platform
import textwrap
from pathlib import Path
from statistics import median
from typing import Any

from .. import environment
from ..report import number, table
from .measuring import CONNECTED, GENERATORS, KINDS, LIMITED, PROBES, RATE, TIMES, Kind, Phase

Document = dict[str, Any]
Run = dict[str, Any]
"""One kind of storm: ``alone``, and the phases ``limited`` and ``free``"""

TEMPLATE = Path(__file__).with_name("page.md")
LEAST_TAKEN = 0.8
"""Of what a worker takes alone, while those who are connected are answered"""
LEAST_OFFERED = 2.0
"""Times what a worker takes alone: less is no storm"""
_SOON = 5
"""Seconds after the storm"""


def surroundings() -> dict[str, Any]:
    """Return what it runs on."""
    here = environment.found_here()
    return {
        "cpu": environment.cpu(),
        "kernel": platform.release(),
        "python": here["python"],
        "form": here["mpchat"],
        "versions": {name: here["versions"][name] for name in ("mpchat", "uvloop")},
    }


def most_p99_us(kind: Kind, quiet_us: float) -> float:
    """Return the longest p99 that those who are connected may see, given that without a storm."""
    if kind.path == "/chat":
        return max(1.5 * quiet_us, quiet_us + 5_000)
    return quiet_us + 60_000


def waited_us(phase: Phase, what: str) -> float:
    """Return what those who are connected saw in the median second."""
    return float(median(window[what] for window in phase["windows"]))


def per_second(phase: Phase, what: str) -> float:
    """Return how many attempts a second had that end, or began."""
    seconds = phase["seconds"]
    return float(sum(second[what] for second in seconds) / len(seconds))


def recovered(kind: Kind, phases: dict[str, Phase]) -> int | None:
    """Return after how many seconds everything is as it was; None: it is not in the last one."""
    most = most_p99_us(kind, waited_us(phases["quiet"], "p99_us"))
    after = phases["after"]
    good = [
        window["p99_us"] <= most and second[kind.answer] >= LEAST_TAKEN * PROBES
        for window, second in zip(after["windows"], after["seconds"], strict=True)
    ]
    if not good[-1]:
        return None
    return max((index + 1 for index, is_good in enumerate(good) if not is_good), default=0)


def verdicts(kind: Kind, run: Run, how: str) -> dict[str, bool]:
    """Return what is asked of a storm, and whether it is so."""
    phases = run[how]
    storm, after = phases["storm"], recovered(kind, phases)
    most = most_p99_us(kind, waited_us(phases["quiet"], "p99_us"))
    waited = waited_us(storm, "p99_us")
    taken = per_second(storm, kind.answer) / run["alone"]
    offered = per_second(storm, "begun") / run["alone"]
    found = {
        f"a storm: at least {LEAST_OFFERED:g} times what the worker takes alone "
        f"({offered:.1f} times)": offered >= LEAST_OFFERED,
        f"p99 of those who are connected is at most {most / 1000:.1f} ms "
        f"({waited / 1000:.1f} ms)": waited <= most,
        f"as before within {_SOON} s ({'later' if after is None else f'{after} s'})": (
            after is not None and after <= _SOON
        ),
    }
    if kind.path == "/chat":
        found[
            f"at least {LEAST_TAKEN:.0%} of what the worker takes alone are taken ({taken:.0%})"
        ] = taken >= LEAST_TAKEN
    return found


def _milliseconds(phase: Phase) -> str:
    worst = max(window["p99_us"] for window in phase["windows"])
    values = (waited_us(phase, "p50_us"), waited_us(phase, "p99_us"), worst)
    return " / ".join(number(value / 1000) for value in values)


def _table(kind: Kind, run: Run) -> str:
    both = {"with the limiter": run["limited"], "without": run["free"]}
    lines = [
        [
            "Answers before it, p50 / p99 / worst p99, ms",
            *(_milliseconds(p["quiet"]) for p in both.values()),
        ],
        ["in its first seconds", *(_milliseconds(p["onset"]) for p in both.values())],
        ["from then on", *(_milliseconds(p["storm"]) for p in both.values())],
    ]
    late = (waited_us(phases["storm"], "client_p99_us") for phases in both.values())
    lines.append(["how late they send then, p99, ms", *(number(us / 1000) for us in late)])
    counts = {
        "Attempts a second": "begun",
        "taken": kind.answer,
        "refused": "refused",
        "failed": "failed",
        "given up after 4 s": "given_up",
    }
    for title, what in counts.items():
        cells = (per_second(phases["storm"], what) for phases in both.values())
        lines.append([title, *(f"{value:,.0f}" for value in cells)])
    times = (recovered(kind, phases) for phases in both.values())
    lines.append(["As before it, s after it", *("-" if x is None else str(x) for x in times)])
    title = f"A storm of {kind.name}; alone, the worker takes {run['alone']:,.0f} a second"
    return table([title, *both], lines)


def _judged(kind: Kind, run: Run) -> str:
    names = {"limited": "With the limiter", "free": "Without"}
    return "\n".join(
        f"- {name}: {'yes' if is_so else '**no**'}, {what}."
        for how, name in names.items()
        for what, is_so in verdicts(kind, run, how).items()
    )


def tables(document: Document) -> str:
    """Return all tables, what they were measured on, and the verdicts."""
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    told = (
        f"Measured on {document['date']}, on {document['cpu']} ({document['cores']} cores), Linux"
        f" {document['kernel']}, with {document['python']}, {versions}, mpchat {document['form']}."
        f" Load average before the run: {document['load']}. {CONNECTED} connections send {RATE:,}"
        f" messages a second; p50 and p99 are those of the median second, beside the worst second's p99."
        f" A storm brings {TIMES} times what the worker takes, or what one core can."
    )
    if not document["first"]:
        told += (
            " **Those who are connected did not come first**: SCHED_FIFO needs root, so their times are"
            " also those of the storm's generator on the same core."
        )
    kinds = {kind.name: kind for kind in KINDS}
    parts = [told]
    for run in document["runs"]:
        kind = kinds[run["kind"]]
        parts += [_table(kind, run), _judged(kind, run)]
    return "\n\n".join(parts)


def page(document: Document) -> str:
    """Return docs/benchmark-overload.md."""
    return TEMPLATE.read_text().format_map(
        document
        | {
            "tables": tables(document),
            "config": f"```yaml\n{textwrap.dedent(LIMITED)}```",
            "times": TIMES,
            "connected": CONNECTED,
            "rate": RATE,
            "generators": GENERATORS,
            "at_once": KINDS[0].at_once,
            "probes": PROBES,
        }
    )
