"""The directory of authors' metrics: what each one is, and how many values it has.

Rules. What an author declares, what a plan names and what stands in a memory are the same JSON objects,
checked by the same code: the template reports mistakes as those of a config, and the supervisor, which
believes no template, refuses a plan that has some. Two metrics may not meet under one name of Prometheus,
which knows letters, digits and underscores only.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, get_args

from mpchat.metrics.families import Kind, Labels

MAX_VALUES = 4096
"""Values of all metrics of an edition together: each takes 8 bytes in every worker."""
MAX_COMBINATIONS = 1000
"""Combinations of labels' values that one metric may have."""
MAX_LABELS = 8
MAX_BOUNDS = 100
MAX_LETTERS = 500
"""Letters of a name, a unit, a label's value or a help text."""

RESERVED = (
    "alerts_",
    "cache_any_",
    "cache_current_documents_count",
    "cache_full_",
    "cache_incremental_",
    "congestion_control_",
    "cpu_time_sec",
    "dynamic_config_",
    "engine_",
    "http_handler_",
    "io_read_bytes",
    "io_write_bytes",
    "logger_",
    "major_pagefaults",
    "mpchat_",
    "open_files",
    "rss_kb",
    "server_connections_",
    "server_requests_",
    "ws_",
)
"""Beginnings of the names that the service's own metrics have in Prometheus's format."""

Shape: TypeAlias = tuple[Kind, frozenset[str], tuple[float, ...]]
Identity: TypeAlias = tuple[str, Kind, tuple[tuple[str, tuple[str, ...]], ...], tuple[float, ...]]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:[.-][A-Za-z0-9_]+)*")
_LABEL = re.compile(r"(?!__|le$)[A-Za-z_][A-Za-z0-9_]*")
_FIELDS = {"name", "kind", "unit", "help", "labels", "bounds"}


@dataclass(frozen=True)
class Entry:
    """One metric."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[tuple[str, tuple[str, ...]], ...]
    """The labels in order, each with its values"""
    bounds: tuple[float, ...]
    """Of a histogram, see Distribution; else empty"""

    @property
    def shape(self) -> Shape:
        """What metrics of one name have to have in common so that they can be added up."""
        return (self.kind, frozenset(self.label_names), self.bounds)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels in order."""
        return tuple(label for label, _values in self.labels)

    @property
    def identity(self) -> Identity:
        """All but the words for people."""
        return (self.name, self.kind, self.labels, self.bounds)

    @cached_property
    def combinations(self) -> tuple[Labels, ...]:
        """Labels with values, in the order in which their values stand in a memory."""
        names = self.label_names
        found = itertools.product(*(values for _label, values in self.labels))
        return tuple(tuple(zip(names, values, strict=True)) for values in found)

    @property
    def width(self) -> int:
        """Number of values of one combination: buckets and then the sum of a histogram, else one."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1

    @property
    def size(self) -> int:
        """Number of values of all combinations."""
        return self.width * math.prod(len(values) for _label, values in self.labels)

    def to_json(self) -> dict[str, Any]:
        """Return it as ``parse`` takes it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "unit": self.unit,
            "help": self.help,
            "labels": {label: list(values) for label, values in self.labels},
            "bounds": list(self.bounds),
        }


def parse(given: object) -> tuple[Entry, ...]:
    """Return the metrics of an edition.

    Raises:
        ValueError: They are not what ``to_json`` and the checks of this module make.
    """
    entries = parse_each(given)
    for entry, text in find_conflicts(entries):
        raise ValueError(f"{entry.name}: {text}")
    return entries


def parse_each(given: object) -> tuple[Entry, ...]:
    """Return metrics, each of them valid by itself.

    Raises:
        ValueError: One is not.
    """
    if not isinstance(given, list):
        raise ValueError(f"expected a list of metrics, got {_shown(given)}")  # noqa: TRY004 - a value, not a call, is wrong
    return tuple(entry_of(item) for item in given)


def entry_of(given: object) -> Entry:
    """Return one metric.

    Raises:
        ValueError: It has mistakes; the text names the first one.
    """
    if not isinstance(given, dict) or given.keys() != _FIELDS:
        raise ValueError(f"expected a metric, got {repr(given)[:100]}")
    for text in find_mistakes(given):
        raise ValueError(text)
    return Entry(
        given["name"],
        given["kind"],
        given["unit"],
        given["help"],
        tuple((label, tuple(values)) for label, values in given["labels"].items()),
        tuple(float(bound) for bound in given["bounds"]),
    )


def find_mistakes(given: Mapping[str, Any]) -> Iterator[str]:
    """Return what is wrong with one metric; values may have any type."""
    name, kind, bounds = given["name"], given["kind"], given["bounds"]
    if not _is_text(name) or not _NAME.fullmatch(name):
        text = "expected a name of letters, digits, '_', '.' and '-' that begins with a letter"
        yield f"{text}, got {_shown(name)}"
    elif own := next((own for own in RESERVED if _exposed_name(name).startswith(own)), None):
        yield f"expected another name: those that begin with {own} are the service's own"
    if kind not in get_args(Kind):
        yield f"expected a counter, a gauge or a histogram, got {_shown(kind)}"
    if not _is_text(given["unit"]):
        yield f"unit: expected a word, got {_shown(given['unit'])}"
    if not _is_text(given["help"]) or not given["help"].strip():
        yield f"help: expected its meaning in one line, got {_shown(given['help'])}"
    yield from _mistakes_in_labels(given["labels"])
    if kind == "histogram":
        yield from _mistakes_in_bounds(bounds)
    elif not isinstance(bounds, tuple | list) or bounds:
        yield f"bounds: expected none of a {kind}"


def find_conflicts(entries: Sequence[Entry]) -> Iterator[tuple[Entry, str]]:
    """Return metrics that cannot stand beside those before them, and why."""
    taken: dict[str, Entry] = {}
    size = 0
    for entry in entries:
        names = _exposed(entry)
        other = next((taken[name] for name in names if name in taken), None)
        if other is not None:
            as_other = (
                "" if other.name == entry.name else f", which Prometheus knows as {other.name}"
            )
            yield entry, f"another metric has the name {entry.name}{as_other}"
            continue
        taken.update(dict.fromkeys(names, entry))
        size += entry.size
        if size > MAX_VALUES:
            text = (
                f"a service may have {MAX_VALUES} values of metrics, and with these it has {size}"
            )
            yield entry, f"{text}: use fewer values of labels, or fewer bounds"
            return


def _mistakes_in_labels(labels: object) -> Iterator[str]:
    if not isinstance(labels, Mapping):
        yield f"labels: expected names, each with its values, got {_shown(labels)}"
        return
    if len(labels) > MAX_LABELS:
        yield f"labels: expected at most {MAX_LABELS}, got {len(labels)}"
    combinations = 1
    for label, values in labels.items():
        if not _is_text(label) or not _LABEL.fullmatch(label):
            text = "expected a name of letters, digits and '_', but not 'le' or one that begins with '__'"
            yield f"labels: {text}, got {_shown(label)}"
        elif not isinstance(values, tuple | list) or not values:
            yield f"labels: {label}: expected a tuple of values, got {_shown(values)}"
        elif bad := [value for value in values if not _is_text(value)]:
            yield f"labels: {label}: expected printable texts, got {_shown(bad[0])}"
        elif len(set(values)) < len(values):
            yield f"labels: {label}: expected each value once, got {_shown(values)}"
        else:
            combinations *= len(values)
    if combinations > MAX_COMBINATIONS:
        text = f"labels: expected at most {MAX_COMBINATIONS} combinations of their values"
        yield f"{text}, got {combinations}"


def _mistakes_in_bounds(bounds: object) -> Iterator[str]:
    if not isinstance(bounds, tuple | list) or not 1 <= len(bounds) <= MAX_BOUNDS:
        yield f"bounds: expected 1 to {MAX_BOUNDS} numbers, got {_shown(bounds)}"
    elif bad := [bound for bound in bounds if not _is_number(bound)]:
        yield f"bounds: expected numbers, got {_shown(bad[0])}"
    elif any(low >= high for low, high in itertools.pairwise(bounds)):
        yield f"bounds: expected rising numbers, got {_shown(bounds)}"


def _exposed(entry: Entry) -> set[str]:
    """Return the names that its values have in Prometheus's text format."""
    name = _exposed_name(entry.name)
    match entry.kind:
        case "gauge":
            return {name}
        case "counter":
            name = name.removesuffix("_total")
            return {name, f"{name}_total"}
        case "histogram":
            return {name, *(f"{name}_{part}" for part in ("bucket", "count", "sum"))}


def _exposed_name(name: str) -> str:
    return re.sub("[^A-Za-z0-9]", "_", name)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_LETTERS and value.isprintable()


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _shown(value: object) -> str:
    return repr(value)[:100]
