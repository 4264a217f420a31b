"""Questions that a template has not answered, by which one that no longer answers is found.

Rules. A template is one thread that carries out one request at a time, in order, so only the oldest
question can be late. Each kind of question has its own limit. An idle template is asked whether it is
still there.
"""

from __future__ import annotations

from collections import deque


class Answers:
    """The questions that one template owes an answer to, oldest first."""

    def __init__(self) -> None:
        self._limits: deque[float] = deque()
        self._since = 0.0
        """When the oldest could be begun, or the last one was answered"""

    def __len__(self) -> int:
        return len(self._limits)

    @property
    def due(self) -> float | None:
        """When the oldest answer is late; None if none is owed."""
        return self._since + self._limits[0] if self._limits else None

    def idle_since(self) -> float:
        """Return when the last answer came, or the oldest question could be begun."""
        return self._since

    def ask(self, limit: float, now: float) -> None:
        """Note a question, which has ``limit`` seconds once those before it are answered."""
        if not self._limits:
            self._since = now
        self._limits.append(limit)

    def answered(self, now: float) -> None:
        """Note an answer to the oldest question."""
        if self._limits:
            self._limits.popleft()
        self._since = now

    def postpone(self, now: float) -> None:
        """Give it its whole time again: the supervisor itself stood still, so nobody can tell."""
        self._since = now
