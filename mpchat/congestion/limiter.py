"""What keeps a rate: tokens for requests, and a ration of refusals.

Rules. One token comes every 1 s / rate, and as many as come in a second may be kept (userver's bucket).
A new bucket is empty: where a limit begins, a burst is what has to end.
"""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """Tokens of one limit."""

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rate = rate
        self._tokens = 0.0
        self._filled = clock()

    def change(self, rate: int) -> None:
        """Go on with another rate; 0 lets nothing pass."""
        self._fill()
        self._rate = rate
        self._tokens = min(self._tokens, rate)

    def take(self) -> bool:
        """Take a token if there is one."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._rate, self._tokens + (now - self._filled) * self._rate)
        self._filled = now


class Ration:
    """What may be spent at a rate, ``most`` at once; whoever overspends has to wait."""

    def __init__(self, rate: float, most: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rate = rate
        self._most = most
        self._left = most
        self._filled = clock()

    def change(self, rate: float, most: float) -> None:
        """Go on at another rate."""
        self._rate = rate
        self._most = most

    def spend(self) -> float:
        """Spend one, and return for how many seconds to spend no more: 0 unless it is too much."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._filled) * self._rate) - 1
        self._filled = now
        return max(0.0, -self._left / self._rate)
