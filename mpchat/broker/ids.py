"""Publishes that may be repeated, by their ids: what comes again is answered with its first offset.

Rules. A client's key is kept for the window, in generations that are dropped as a whole: expiring keys
one by one would cost more than all else. A worker's own ids are its counters, and at most ``OPEN`` of
its publishes have no answer yet, so the last ``OPEN`` are enough. When there are more keys than
allowed, the oldest generation goes before its time, and is counted. Time is the monotonic clock's.
"""

from __future__ import annotations

from array import array
from collections import deque
from typing import NamedTuple

from mpchat.ipc.rooms import MAX_OPEN

WINDOW = 120_000
"""Milliseconds for which ids are kept"""
MOST_KEYS = 100_000
OPEN = MAX_OPEN
"""Publishes of one worker whose counters are kept: as many as may wait for their answer"""
GENERATIONS = 4
"""Parts of the window, and of the keys that are allowed"""


class _Generation(NamedTuple):
    ended: int
    """Milliseconds of the monotonic clock"""
    offset: int
    """Where the log ended then"""
    keys: dict[bytes, int]


class Ids:
    """The ids of the last window.

    Attributes:
        young: The generation that takes keys, with their offsets.
        turn_at: When the next generation begins, in milliseconds of the monotonic clock.
        share: Keys with which the next generation begins, whatever the time.
        dropped: Keys that were forgotten before their time.
    """

    def __init__(self, window: int, most: int) -> None:
        self._window = window
        self._most = most
        self._step = max(1, window // GENERATIONS)
        self._older: deque[_Generation] = deque()
        self._own: dict[int, array[int]] = {}
        self.young: dict[bytes, int] = {}
        self.turn_at = 0
        self.share = max(1, most // GENERATIONS)
        self.dropped = 0

    def __len__(self) -> int:
        return len(self.young) + sum(len(older.keys) for older in self._older)

    @property
    def workers(self) -> int:
        """Incarnations whose counters are known."""
        return len(self._own)

    def find_key(self, key: bytes) -> int:
        """Return the offset of the client's publish with this key, or 0."""
        found = self.young.get(key)
        if found is not None:
            return found
        for generation in reversed(self._older):
            found = generation.keys.get(key)
            if found is not None:
                return found
        return 0

    def find_own(self, incarnation: int, counter: int) -> int:
        """Return the offset of the worker's publish with this counter, or 0."""
        places = self._own.get(incarnation)
        place = counter % OPEN
        if places is None or places[OPEN + place] != counter:
            return 0
        return places[place]

    def has(self, incarnation: int, counter: int, key: bytes) -> bool:
        """Return whether this publish may be a repetition, by its counter or its key, in one call."""
        places = self._own.get(incarnation)
        if places is not None and places[OPEN + counter % OPEN] == counter:
            return True
        if not key:
            return False
        if key in self.young:
            return True
        for older in self._older:  # noqa: SIM110 - a generator would cost more than the lookups
            if key in older.keys:
                return True
        return False

    def places(self, incarnation: int) -> array[int]:
        """Return the worker's table: offsets by ``counter % OPEN``, then, ``OPEN`` further, counters."""
        places = self._own.get(incarnation)
        if places is None:
            places = self._own[incarnation] = array("Q", bytes(2 * OPEN * 8))
        return places

    def turn(self, now: int, end: int) -> None:
        """Begin a generation, and drop those that are over. The log ends at ``end``."""
        if self.young or self._own:
            self._older.append(_Generation(now, end, self.young))
            self.young = {}
        self.turn_at = now + self._step
        over = 0
        while self._older and self._older[0].ended < now - self._window:
            over = self._older.popleft().offset
        while self._older and len(self) > self._most - self.share:
            self.dropped += len(self._older.popleft().keys)
        if over:
            # A worker that has published nothing within the window waits for no answer.
            self._own = {
                incarnation: places
                for incarnation, places in self._own.items()
                if max(places[:OPEN]) >= over
            }
