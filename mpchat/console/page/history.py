"""The last five minutes of the service and of each slot, second by second.

Rules. Pure: readings of counters and gauges in, numbers of each second out. A second without a reading,
since the console or the machine stood still, has no numbers. Series have the oldest second first, and end
with the same second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

SECONDS = 300
"""Seconds that are kept."""

Number: TypeAlias = float | None


@dataclass(frozen=True)
class Part:
    """One reading of the service, or of a slot.

    Attributes:
        counters: What only grows, and is shown per second.
        gauges: What is shown as it is; None is unknown.
    """

    counters: Mapping[str, int]
    gauges: Mapping[str, Number]


@dataclass(frozen=True)
class Reading:
    """The whole service at one moment.

    Attributes:
        at: Seconds of the system's monotonic clock.
        slots: In their order.
        limits: How often each limit has been reached since the start.
    """

    at: float
    service: Part
    slots: Sequence[Part]
    limits: Mapping[str, int]


@dataclass(frozen=True)
class Reached:
    """A limit that was reached within the seconds that are kept."""

    name: str
    count: int
    seconds_ago: int


class History:
    """Keeps the numbers of the last seconds.

    Attributes:
        number: The last second's, counted from the first reading.
    """

    def __init__(self) -> None:
        self.number = 0
        self._last: Reading | None = None
        self._service = _Track()
        self._slots: list[_Track] = []
        self._reached: deque[Mapping[str, int]] = deque(maxlen=SECONDS)

    def add(self, reading: Reading) -> None:
        """Add the reading of one more second."""
        last, self._last = self._last, reading
        elapsed = reading.at - last.at if last is not None else 1.0
        passed = max(1, round(elapsed))
        self.number += passed
        missing = min(passed - 1, SECONDS)
        self._service.add(reading.service, elapsed, missing)
        # A slot that is gone, since a restart has brought a smaller pool, may come back as another one.
        del self._slots[len(reading.slots) :]
        while len(self._slots) < len(reading.slots):
            self._slots.append(_Track())
        for track, part in zip(self._slots, reading.slots, strict=True):
            track.add(part, elapsed, missing)
        self._reached.extend({} for _ in range(missing))
        before = last.limits if last is not None else reading.limits
        grown = {name: count - before.get(name, 0) for name, count in reading.limits.items()}
        self._reached.append({name: count for name, count in grown.items() if count})

    def whole(self) -> dict[str, Any]:
        """Return all series by their names, of the service and of each slot."""
        return {
            "number": self.number,
            "service": self._service.series(),
            "slots": [track.series() for track in self._slots],
        }

    def last(self) -> dict[str, Any]:
        """Return the last second: what the series of ``whole`` end with."""
        return {
            "number": self.number,
            "service": self._service.last(),
            "slots": [track.last() for track in self._slots],
        }

    def reached(self) -> list[Reached]:
        """Return the limits that were reached, the latest first."""
        found: dict[str, Reached] = {}
        for ago, second in enumerate(reversed(self._reached)):
            for name, count in second.items():
                before = found.get(name, Reached(name, 0, ago))
                found[name] = Reached(name, before.count + count, before.seconds_ago)
        return list(found.values())


class _Track:
    """The series of the service, or of one slot."""

    def __init__(self) -> None:
        self._rows: deque[Mapping[str, Number]] = deque(maxlen=SECONDS)
        self._counters: Mapping[str, int] | None = None

    def add(self, part: Part, elapsed: float, missing: int) -> None:
        before, self._counters = self._counters, part.counters
        self._rows.extend({} for _ in range(missing))
        rates = {
            name: _short((count - before[name]) / elapsed) if before is not None else None
            for name, count in part.counters.items()
        }
        self._rows.append({**rates, **part.gauges})

    def series(self) -> dict[str, list[Number]]:
        return {name: [row.get(name) for row in self._rows] for name in self.last()}

    def last(self) -> Mapping[str, Number]:
        return self._rows[-1] if self._rows else {}


def _short(value: float) -> float:
    """Return a rate as it is shown: with one digit after the point, and none if that is 0."""
    rounded = round(value, 1)
    return int(rounded) if rounded.is_integer() else rounded
