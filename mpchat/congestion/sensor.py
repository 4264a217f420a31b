"""How overloaded a worker is: the wait for its event loop, and whether it has any time left.

Rules. userver counts tasks that have waited too long for a thread. A worker has one thread, and whatever
waits, waits for a turn of its loop. So a hundred times a second a look lines up as a message would, and
is a sign of overload if it comes too late; looks that the loop has slept through are as late as it is.
Signs count only in a second in which the worker had little time left: for 80 % of it, it ran or was ready
and waited for a CPU. (It is not more, since what interrupts and a hypervisor take is nobody's time.) A
loop that is late while the worker has time waits for something else, such as a disk, and fewer clients
would not help it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mpchat.congestion.controller import Reading

LOOK_SECONDS = 0.01
"""Seconds between two looks."""
_LOOKS = 100
"""Looks of one reading."""
_BUSY = 0.8
"""Share of a reading's time from which a worker has little left."""


class _Begun(NamedTuple):
    """Where a reading began."""

    at: float
    busy: float


class Sensor:
    """Looks at the loop that calls it.

    ``busy`` returns the seconds, so far, that the worker has run or has waited for a CPU.

    Attributes:
        load: Requests that were taken since the last reading; whoever takes one counts it.
    """

    def __init__(self, clock: Callable[[], float], busy: Callable[[], float]) -> None:
        self._clock = clock
        self._busy = busy
        self.begin()

    def begin(self) -> None:
        """Begin anew."""
        now = self._clock()
        self.load = 0
        self._events = self._looks = 0
        self._due = now + LOOK_SECONDS
        self._begun = _Begun(now, self._busy())

    def look(self, most: float) -> Reading | None:
        """Look, and return what was seen since the last reading if that is a second's worth.

        A look that comes ``most`` seconds late, or later, is a sign of overload.
        """
        now = self._clock()
        late = now - self._due
        if late < 0:
            return None
        looks = int(late / LOOK_SECONDS) + 1
        self._looks += looks
        if late >= most:
            self._events += int((late - most) / LOOK_SECONDS) + 1
        self._due += looks * LOOK_SECONDS
        return self._read(now) if self._looks >= _LOOKS else None

    def next_look(self) -> float:
        """Return the seconds until the next look is due."""
        return max(0.0, self._due - self._clock())

    def _read(self, now: float) -> Reading:
        begun, self._begun = self._begun, _Begun(now, self._busy())
        is_busy = self._begun.busy - begun.busy >= _BUSY * (now - begun.at)
        # A loop that has stood still brings more than a second's worth.
        scale = _LOOKS / self._looks
        events = round(self._events * scale) if is_busy else 0
        reading = Reading(round(self.load * scale), events, _LOOKS)
        self.load = self._events = self._looks = 0
        return reading
