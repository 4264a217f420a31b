"""Metrics as authors use them: methods with the names of ``prometheus_client``.

Rules. A value that cannot be counted is an error at the call, which names the metric and changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from math import inf

from mpchat.metrics.area import Area, place_of


class Metric:
    """Base of the three kinds: the values of one metric in one worker."""

    __slots__ = ("_area", "_entry", "_first", "_places")

    def __init__(self, area: Area, name: str) -> None:
        self._area = area
        self._entry, self._first = area.find(name)
        width = self._entry.width
        self._places = {
            labels: self._first + number * width
            for number, labels in enumerate(self._entry.combinations)
        }

    def _place(self, labels: dict[str, str]) -> int:
        try:
            return self._places[tuple(labels.items())]
        except (KeyError, TypeError):
            # In another order, or wrong.
            return self._first + place_of(self._entry, labels)

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
        self._area.add(self._place(labels), amount)


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
        self._area.put(self._place(labels), value)

    def inc(self, amount: float = 1, /, **labels: str) -> None:
        """Add to this worker's value.

        Raises:
            ValueError: See ``set``.
        """
        if not -inf < amount < inf:
            raise self._refuse(amount)
        self._area.add(self._place(labels), amount)

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
        place, bounds = self._place(labels), self._entry.bounds
        self._area.add(place + bisect_left(bounds, value), 1)
        self._area.add(place + len(bounds) + 1, value)
