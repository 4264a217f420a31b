"""From the JSON document to the tables of docs/scale-out.md: pure functions, except ``surroundings``."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from operator import itemgetter
from statistics import median
from typing import Any

from .. import environment
from ..report import number, table

Document = dict[str, Any]
Sample = dict[str, Any]
MARKS = ("<!-- Printed by make bench-hosts. -->\n\n", "\n\n<!-- As far as this. -->")


def surroundings() -> dict[str, Any]:
    """Return what it runs on."""
    here = environment.found_here()
    names = ("mpchat", "uvloop", "channels", "channels-redis")
    return {
        "cpu": environment.cpu(),
        "kernel": platform.release(),
        "python": here["python"],
        "form": here["mpchat"],
        "versions": {name: here["versions"][name] for name in names} | (environment.redis() or {}),
    }


def _typical(samples: list[Sample], what: Callable[[Sample], float | None]) -> float | None:
    """Return the median of the rounds; None: it was not measured."""
    found = [value for sample in samples if (value := what(sample)) is not None]
    return median(found) if found else None


def _rows(samples: list[Sample], *keys: str) -> Iterable[tuple[Any, ...]]:
    """Return the values of these keys, as they came first, with their samples behind them."""
    found: dict[tuple[Any, ...], list[Sample]] = {}
    for sample in samples:
        found.setdefault(tuple(sample[key] for key in keys), []).append(sample)
    return ((*values, rounds) for values, rounds in found.items())


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _milliseconds(samples: list[Sample]) -> str:
    p50 = _typical(samples, lambda one: one["p50_us"] / 1000)
    p99 = _typical(samples, lambda one: one["p99_us"] / 1000)
    return f"{number(p50)} / {number(p99)}"


def _part(samples: list[Sample], key: str, part: str) -> float | None:
    return _typical(samples, lambda one: one[key].get(part))


def messages(document: Document) -> str:
    """Return the tables of messages."""
    heads = ["", "engine", "a second", "p50 / p99, ms"]
    good = [one for one in document["messages"] if "failed" not in one]
    times = [
        [row, engine, _whole(_typical(found, lambda one: one["per_second"])), _milliseconds(found)]
        for row, engine, found in _rows(good, "row", "engine")
    ]
    parts = {
        "broker out": "out",
        "broker in": "in",
        "workers": "workers",
        "between": "between",
        "all": "all",
    }
    costs = [
        [
            row,
            engine,
            *(number(_part(found, "cpu_us", part) or None) for part in parts.values()),
            _between(found, engine),
        ]
        for row, engine, found in _rows(good, "row", "engine")
    ]
    failed = [
        f"{one['engine']} was overloaded by {one['row']}: it lost messages or connections, and is in"
        " no further row."
        for one in document["messages"]
        if "failed" in one
    ]
    costly = table(["CPU, µs", "engine", *parts, "NATS in / out"], costs)
    return "\n\n".join([table(heads, times), *failed, costly])


def _between(samples: list[Sample], engine: str) -> str:
    if not engine.startswith("nats"):
        return "-"
    came = _typical(samples, lambda one: one["nats_in"])
    went = _typical(samples, lambda one: one["nats_out"])
    return f"{number(came)} / {number(went)}"


def restarts(document: Document) -> str:
    """Return the tables of a broker with many rooms."""
    killed = []
    rest = []
    for rooms, engine, found in _rows(document["restarts"], "rooms", "engine"):
        shared = engine.startswith("nats")
        told = _typical(found, lambda one: one["restart_nats_in"] / one["rooms"])
        burnt = _typical(found, lambda one: one["restart_between_ms"])
        killed.append(
            [
                f"{rooms:,}",
                engine,
                number(_typical(found, lambda one: one["live_s"])),
                number(told) if shared else "-",
                number(burnt) if shared else "-",
                number(_typical(found, lambda one: one["room_kib"])),
            ]
        )
        cells = (_part(found, "rest_us", part) for part in ("out", "between"))
        asked = _typical(found, lambda one: one["rest_nats_in"])
        rest.append(
            [
                f"{rooms:,}",
                engine,
                *(number(value / 1000) if value else "-" for value in cells),
                number(asked) if shared else "-",
            ]
        )
    heads = [
        "rooms",
        "engine",
        "live again, s",
        "NATS in, a room",
        "NATS, CPU ms",
        "RSS, KiB a room",
    ]
    quiet = ["rooms, at rest", "engine", "broker, ms/s", "NATS, ms/s", "NATS in, a second"]
    return "\n\n".join([table(heads, killed), table(quiet, rest)])


def nats_py(document: Document) -> str:
    """Return the table of nats-py by itself."""
    names = {
        "to publish, without an answer": "publish_us",
        "to receive": "receive_us",
        "to publish and have the answer": "ask_us",
    }
    lines = []
    for rate, found in _rows(document["nats_py"], "rate"):
        for title, name in names.items():
            cost = _typical(found, itemgetter(name))
            share = cost * rate / 1e4 if cost is not None else None
            lines.append([title, number(cost), f"{_whole(share)} %"])
    return table(["nats-py", "CPU of a message, µs", "of a core at 20,000 a second"], lines)


def tables(document: Document) -> str:
    """Return all tables, and what they were measured on."""
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    told = (
        f"Measured on {document['date']}, on {document['cpu']} ({document['cores']} cores), Linux"
        f" {document['kernel']}, with {document['python']}, {versions}, mpchat {document['form']}."
        f" The hosts are {document['network']}. Median of {document['rounds']} rounds of"
        f" {document['seconds']:g} s. Load average before the run: {document['load']}."
    )
    found = [told]
    if document["messages"]:
        found.append(messages(document))
    if document["restarts"]:
        found.append(restarts(document))
    if document["nats_py"]:
        found.append(nats_py(document))
    return "\n\n".join(found)


def with_tables(page: str, document: Document) -> str:
    """Return the page with this document's tables in the place of those before."""
    begin, end = MARKS
    before, found, rest = page.partition(begin)
    _, closed, behind = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page lacks {begin.strip()} or {end.strip()}")
    return f"{before}{begin}{tables(document)}{end}{behind}"
