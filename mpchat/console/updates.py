"""The metrics of updates from the config service: what they are, and their values.

Rules. Names are userver's: to it, the values of its config service are a cache. ``any`` is both kinds of
updates together. There are none of them in a service that has never asked a config service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter

from mpchat.metrics.definition import Definition
from mpchat.metrics.families import Family
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.scoreboard.service import OF_UPDATES, UPDATES

CACHE = "dynamic-config-client-updater"
"""What the cache is called in userver"""
_LABELS = ("cache_name",)
_COUNTERS = {
    "attempts": ("update.attempts_count", "updates", "Updates, of whatever outcome"),
    "no_changes": ("update.no_changes_count", "updates", "Updates that changed nothing"),
    "failures": ("update.failures_count", "updates", "Updates that failed"),
    "read": ("documents.read_count", "variables", "Variables in the answers"),
    "refused": ("documents.parse_failures", "answers", "Answers with values that were refused"),
}
_SINCE = {
    "begun_at": ("time.time-from-last-update-start-ms", "Since the last update began"),
    "succeeded_at": (
        "time.time-from-last-successful-start-ms",
        "Since the last update that has succeeded began",
    ),
}
_TOOK = ("time.last-update-duration-ms", "How long the last update took")
_UNIT = "milliseconds"


def _of(kind: str) -> dict[str, Definition]:
    """Return the metrics of one kind, by what the console stores."""
    prefix, of = f"cache.{kind}.", "" if kind == "any" else f"; {kind} updates only"
    gauges = {**_SINCE, "took_ms": _TOOK}
    return {
        name: Definition(prefix + metric, "counter", unit, text + of, _LABELS)
        for name, (metric, unit, text) in _COUNTERS.items()
    } | {
        name: Definition(prefix + metric, "gauge", _UNIT, text + of, _LABELS)
        for name, (metric, text) in gauges.items()
    }


OF_KINDS = {kind: _of(kind) for kind in ("any", *UPDATES)}
DOCUMENTS = Definition(
    "cache.current-documents-count",
    "gauge",
    "variables",
    "Variables that the config service has set",
    _LABELS,
)
DEFINITIONS = (*(one for kind in OF_KINDS.values() for one in kind.values()), DOCUMENTS)


def update_families(board: Scoreboard, now: float) -> Iterator[Family]:
    """Return the metrics at this time, in seconds of the system's monotonic clock."""
    read = board.service
    kinds = [{name: read(f"{kind}_{name}") for name in OF_UPDATES} for kind in UPDATES]
    if not any(one["attempts"] for one in kinds):
        return
    together = {name: sum(one[name] for one in kinds) for name in _COUNTERS}
    together |= {name: max(one[name] for one in kinds) for name in _SINCE}
    together["took_ms"] = max(kinds, key=itemgetter("begun_at"))["took_ms"]
    for definitions, values in zip(OF_KINDS.values(), (together, *kinds), strict=True):
        yield from _families(definitions, values, now)
    yield DOCUMENTS.family((((CACHE,), read("documents")),))


def _families(
    definitions: Mapping[str, Definition], values: Mapping[str, int], now: float
) -> Iterator[Family]:
    for name, definition in definitions.items():
        value = values[name]
        if name in _SINCE:
            if not value:
                # There was none yet.
                yield definition.family(())
                continue
            value = max(0, round(now * 1000) - value)
        yield definition.family((((CACHE,), value),))
