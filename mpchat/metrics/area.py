"""One worker's values of its authors' metrics.

Rules. One thread writes an area, that of the worker's event loop; what other threads count is handed over
to it, in order. So nothing is locked, and nothing is lost. A process that was forked from the worker
would be a second writer, so to count there is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import get_ident
from typing import NoReturn, Protocol

from mpchat.metrics.directory import Entry
from mpchat.metrics.families import Distribution

_NOBODY = -1


class Values(Protocol):
    """A list of doubles, in memory that is shared or not."""

    def __getitem__(self, place: int, /) -> float: ...
    def __setitem__(self, place: int, value: float, /) -> None: ...


class Area:
    """The values of one worker; make it in the thread that writes them.

    Attributes:
        values: In the directory's order; only the writer may change them.
        writer: That thread.
        hand_over: Has it call a function with arguments, soon (``call_soon_threadsafe``).
    """

    def __init__(
        self, entries: Iterable[Entry], values: Values, hand_over: Callable[..., object]
    ) -> None:
        self.values = values
        self.writer = get_ident()
        self.hand_over = hand_over
        self._places: dict[str, tuple[Entry, int]] = {}
        start = 0
        for entry in entries:
            self._places[entry.name] = (entry, start)
            start += entry.size

    def find(self, name: str) -> tuple[Entry, int]:
        """Return a metric, and where its values begin.

        Raises:
            KeyError: There is none of that name.
        """
        return self._places[name]

    def read(self, name: str, labels: Mapping[str, str]) -> float | Distribution:
        """Return the value of a metric, as this worker has counted it.

        Raises:
            KeyError: There is no metric of that name.
            ValueError: It has other labels.
        """
        entry, start = self.find(name)
        start += place_of(entry, labels)
        values = [self.values[place] for place in range(start, start + entry.width)]
        if entry.kind != "histogram":
            return values[0]
        return Distribution(entry.bounds, tuple(int(count) for count in values[:-1]), values[-1])

    def leave(self) -> None:
        """Let nothing be counted any more: this process was forked from the worker."""
        self.writer, self.hand_over = _NOBODY, _refuse


def _refuse(*_given: object) -> NoReturn:
    raise RuntimeError(
        "a process that was forked from a worker has no metrics: count in the worker itself"
    )


def place_of(entry: Entry, labels: Mapping[str, str]) -> int:
    """Return where the values of these labels begin, counted from the metric's first one.

    Raises:
        ValueError: The metric has other labels, or a label has no such value.
    """
    names = entry.label_names
    if labels.keys() != set(names):
        expected, given = (", ".join(found) or "none" for found in (names, labels))
        raise ValueError(f"{entry.name}: expected the labels {expected}, got {given}")
    for label, allowed in entry.labels:
        if labels[label] not in allowed:
            text = f"{label} is {labels[label]!r}, expected one of {', '.join(allowed)}"
            raise ValueError(f"{entry.name}: {text}")
    combination = tuple(
        (label, allowed[allowed.index(labels[label])]) for label, allowed in entry.labels
    )
    return entry.combinations.index(combination) * entry.width
