"""How many messages a second each room gets, for ``mpchat rooms``.

Rules. On the way of a message this costs one increment in a dict. Rates are of the last whole seconds,
so a room that has gone quiet is forgotten after them.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque

_SECONDS = 5
"""Whole seconds that a rate is taken over."""


class Traffic:
    """Counts of messages by room.

    Attributes:
        current: Messages of this second, by room; whoever takes a message adds one.
    """

    def __init__(self) -> None:
        self.current: defaultdict[bytes, int] = defaultdict(int)
        self._past: deque[tuple[dict[bytes, int], float]] = deque(maxlen=_SECONDS)

    def turn(self, seconds: float) -> None:
        """End the current second, which took so long."""
        self._past.append((self.current, seconds))
        self.current = defaultdict(int)

    def rates(self) -> dict[bytes, float]:
        """Return messages a second, by room; rooms without any are left out."""
        seconds = sum(took for _, took in self._past)
        if not seconds:
            return {}
        counts: Counter[bytes] = Counter()
        for past, _ in self._past:
            counts.update(past)
        return {room: count / seconds for room, count in counts.items()}
