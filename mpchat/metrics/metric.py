"""Metrics as authors use them: methods with the names of ``prometheus_client``.

Rules. A value that cannot be counted is an error at the call, which names the metric and changes nothing.
A message may be counted several times, and each call of a function makes that dearer by a fifth: so the
methods write by themselves.
"""

from __future__ import annotations

from bisect import bisect_left
from math import inf
from threading import get_ident
from typing import Any

from mpchat.metrics.area import Area, place_of


class Metric:
    """Base of the three kinds: the values of one metric in one worker."""

    __slots__ = ("_area", "_entry", "_first", "_labels", "_places")

    def __init__(self, area: Area, name: str) -> None:
        self._area = area
        self._entry, self._first = area.find(name)
        self._labels = self._entry.label_names
        self._places: dict[str, Any] = {}
        """By the value of the first label, of the next one, and so on to the place"""
        for number, labels in enumerate(self._entry.combinations):
            found = self._places
            for _label, value in labels[:-1]:
                found = found.setdefault(value, {})
            for _label, value in labels[-1:]:
                found[value] = self._first + number * self._entry.width

    def _place(self, labels: dict[str, str]) -> int:
        found: Any = self._places
        try:
            for label in self._labels:
                found = found[labels[label]]
            if len(labels) == len(self._labels):
                place: int = found
                return place
        except (KeyError, TypeError):
            pass
        # It says what is wrong.
        return self._first + place_of(self._entry, labels)

    def _add(self, place: int, amount: float) -> None:
        self._area.values[place] += amount

    def _set(self, place: int, value: float) -> None:
        self._area.values[place] = value

    def _refuse(self, value: object) -> ValueError:
        return ValueError(f"{self._entry.name}: cannot count {value!r}")


class Counter(Metric):
    """A total, such as of orders taken: it only grows.

    It outlives workers: the console shows what all workers of the service have counted, dead ones and
    those of earlier code included.
    """

    __slots__ = ()

    def inc(self, amount: float = 1, /, **labels: str) -> None:
        """Add to the total: ``self.orders.inc()``, ``self.orders.inc(3, kind="buy")``.

        Raises:
            ValueError: The amount is negative or not finite, or the metric has other labels or no such
                value of a label.
        """
        if not 0 <= amount < inf:
            raise self._refuse(amount)
        place = self._place(labels) if labels or self._labels else self._first
        area = self._area
        if get_ident() == area.writer:
            area.values[place] += amount
        else:
            area.hand_over(self._add, place, amount)


class Gauge(Metric):
    """A number that rises and falls, such as of open orders.

    The console shows the sum over all workers; what a worker has set ends with it.
    """

    __slots__ = ()

    def set(self, value: float, /, **labels: str) -> None:
        """Set this worker's value: ``self.open.set(5)``.

        Raises:
            ValueError: It is not finite, or the metric has other labels or no such value of a label.
        """
        if not -inf < value < inf:
            raise self._refuse(value)
        place = self._place(labels) if labels or self._labels else self._first
        area = self._area
        if get_ident() == area.writer:
            area.values[place] = value
        else:
            area.hand_over(self._set, place, value)

    def inc(self, amount: float = 1, /, **labels: str) -> None:
        """Add to this worker's value.

        Raises:
            ValueError: See ``set``.
        """
        if not -inf < amount < inf:
            raise self._refuse(amount)
        place = self._place(labels) if labels or self._labels else self._first
        area = self._area
        if get_ident() == area.writer:
            area.values[place] += amount
        else:
            area.hand_over(self._add, place, amount)

    def dec(self, amount: float = 1, /, **labels: str) -> None:
        """Subtract from this worker's value.

        Raises:
            ValueError: See ``set``.
        """
        self.inc(-amount, **labels)


class Histogram(Metric):
    """How often values within certain bounds were observed, and their sum.

    It outlives workers, as a Counter.
    """

    __slots__ = ()

    def observe(self, value: float, /, **labels: str) -> None:
        """Count a value: ``self.waited.observe(0.25)``.

        It is counted in the bucket of the lowest bound that is not below it.

        Raises:
            ValueError: It is not finite, or the metric has other labels or no such value of a label.
        """
        if not -inf < value < inf:
            raise self._refuse(value)
        place = self._place(labels) if labels or self._labels else self._first
        area = self._area
        if get_ident() == area.writer:
            self._observe(place, value)
        else:
            area.hand_over(self._observe, place, value)

    def _observe(self, place: int, value: float) -> None:
        values, bounds = self._area.values, self._entry.bounds
        values[place + bisect_left(bounds, value)] += 1
        values[place + len(bounds) + 1] += value
