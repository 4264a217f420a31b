"""Sums over the memories that count: one for each edition that has workers, and those before it.

Rules. A total must not fall, for whoever reads it takes that for a restart from zero. So sums are exact,
whatever their order, and what is carried from old memories into a new one is rounded up, never down.
A metric whose kind, names of labels or bounds have changed begins anew. Values of labels may change: what
was counted under one that is gone stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from mpchat.metrics.directory import Entry, Identity, Shape
from mpchat.metrics.families import Distribution, Family, Labels, Sample
from mpchat.metrics.memory import Memory

MAX_CARRIED = 16384
"""Values of totals that an edition lacks, all together; what is beyond that is dropped."""

Columns: TypeAlias = list[tuple[float, ...]]
"""Of each value of a metric, what every area has"""


@dataclass(frozen=True)
class Carried:
    """What a new memory takes from those that nobody writes any more."""

    totals: list[tuple[Entry, list[float]]]
    dropped: list[str]
    """Names of metrics for which there is no room"""


def carry(declared: Sequence[Entry], memories: Iterable[Memory], slots: int) -> Carried:
    """Return the totals of memories, newest first, for a memory of the ``declared`` metrics."""
    shapes = {entry.name: entry.shape for entry in declared}
    found: dict[Identity, tuple[Entry, list[Columns]]] = {}
    for entry, columns in columns_of(memories, slots, shapes):
        if entry.kind != "gauge":
            found.setdefault(entry.identity, (entry, []))[1].append(columns)
    ours = {entry.identity for entry in declared}
    carried = Carried([], [])
    room = MAX_CARRIED
    for entry, parts in found.values():
        values = [_rounded_up([*chain(*columns)]) for columns in zip(*parts, strict=True)]
        size = 0 if entry.identity in ours else entry.size
        if not any(values):
            continue
        if size > room:
            carried.dropped.append(entry.name)
            continue
        room -= size
        carried.totals.append((entry, values))
    return carried


def columns_of(
    memories: Iterable[Memory], slots: int, shapes: dict[str, Shape] | None = None
) -> Iterator[tuple[Entry, Columns]]:
    """Return the metrics of memories with their values, but none whose name has another shape before it.

    ``shapes`` are those of names that come before all memories.
    """
    known = dict(shapes or {})
    for memory in memories:
        for entry, columns in memory.columns(slots):
            if known.setdefault(entry.name, entry.shape) == entry.shape:
                yield entry, columns


def families_of(memories: Sequence[Memory], slots: int) -> list[Family]:
    """Return all metrics of memories, that of the current edition first, added up over all workers.

    ``slots`` is the number of slots that have ever had a worker.
    """
    ours = {entry.identity for memory in memories[:1] for entry in memory.declared}
    first: dict[str, Entry] = {}
    found: dict[str, dict[Labels, list[Columns]]] = {}
    for entry, columns in columns_of(memories, slots):
        if entry.kind == "gauge" and entry.identity not in ours and not any(map(any, columns)):
            # No worker has it any more.
            continue
        names = first.setdefault(entry.name, entry).label_names
        # Editions may have the same labels in another order.
        order = [entry.label_names.index(label) for label in names]
        series = found.setdefault(entry.name, {})
        for number, labels in enumerate(entry.combinations):
            own = columns[number * entry.width : (number + 1) * entry.width]
            series.setdefault(tuple(labels[place] for place in order), []).append(own)
    return [_family(first[name], series) for name, series in found.items()]


def _family(entry: Entry, series: dict[Labels, list[Columns]]) -> Family:
    samples = []
    for labels, parts in series.items():
        sums = [add_up([*chain(*columns)]) for columns in zip(*parts, strict=True)]
        value: float | Distribution = sums[0]
        if entry.kind == "histogram":
            counts = tuple(int(count) for count in sums[:-1])
            value = Distribution(entry.bounds, counts, sums[-1])
        samples.append(Sample(labels, value))
    return Family(entry.name, entry.kind, entry.unit, entry.help, tuple(samples))


def find_changed(declared: Iterable[Entry], memories: Iterable[Memory]) -> list[str]:
    """Return the names whose totals begin anew: memories, newest first, have another shape of them."""
    known: dict[str, Shape] = {}
    for memory in memories:
        for entry in (*memory.declared, *memory.carried):
            known.setdefault(entry.name, entry.shape)
    return [entry.name for entry in declared if known.get(entry.name, entry.shape) != entry.shape]


def add_up(values: Sequence[float]) -> float:
    """Return the sum of values, correctly rounded whatever their order."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        # Of values that are not finite, or too large together: nothing is exact about them.
        return sum(values)


def _rounded_up(values: Sequence[float]) -> float:
    """Return the sum of values, or the next larger number if that is below it."""
    total = add_up(values)
    return math.nextafter(total, math.inf) if add_up((*values, -total)) > 0 else total
