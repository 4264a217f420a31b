"""The TLS handshakes of a worker: whose step is next, and who has to give way.

Rules. A handshake takes steps, of half a millisecond each. At most two are done in a turn of the loop,
for all clients together, so that open connections do not wait for a storm of new ones. Those that have
begun go before new ones, since each holds 41 KiB. When as many have begun as there may be, the one that
has waited longest for its client gives way to the next: however many an attacker begins and leaves,
clients that answer are served.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from mpchat.scoreboard.counters import Counters
from mpchat.websocket.budget import TLS_STEP
from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.turn import Turn


class Shaking(Protocol):
    """A connection whose handshake has not ended."""

    @property
    def is_queued(self) -> bool:
        """Whether it still wants a step."""

    def step(self) -> None:
        """Take the next step, with what has come."""

    def give_way(self) -> None:
        """End, in favour of another."""


class Handshakes:
    """Those of one worker."""

    def __init__(self, turn: Turn, counters: Counters, thresholds: Thresholds) -> None:
        self._turn = turn
        self._counters = counters
        self._most = thresholds.max_tls_handshakes
        self._steps = thresholds.tls_steps
        self._new: deque[Shaking] = deque()
        self._begun: deque[Shaking] = deque()
        # Those that were answered, in this order. A dict keeps it.
        self._answered: dict[Shaking, None] = {}
        self._in_line = False

    def line_up(self, client: Shaking, *, has_begun: bool) -> None:
        """Have the client's step taken when it is its turn."""
        if has_begun:
            self._answered.pop(client, None)
            self._begun.append(client)
        else:
            self._new.append(client)
        self._wait_in_line()

    def answered(self, client: Shaking) -> None:
        """Take note that the client has to do the next thing."""
        self._answered[client] = None

    def ended(self, client: Shaking) -> None:
        """Count out a handshake that had begun."""
        self._answered.pop(client, None)
        self._counters.tls_handshaking -= 1

    def serve(self) -> None:
        """Take the steps of this turn; the turn calls this."""
        self._in_line = False
        try:
            for _ in range(self._steps):
                client = self._next()
                if client is None:
                    break
                self._turn.charge(TLS_STEP)
                client.step()
        finally:
            # Also after a failure: the others still wait.
            if self._begun or self._new:
                self._wait_in_line()
        self._turn.touch()

    def _next(self) -> Shaking | None:
        """Return whose step is next; a new one begins with it."""
        while self._begun:
            client = self._begun.popleft()
            if client.is_queued:
                return client
        while self._new:
            client = self._new.popleft()
            if client.is_queued:
                if self._counters.tls_handshaking >= self._most:
                    # Whoever is not in the queue was answered.
                    next(iter(self._answered)).give_way()
                self._counters.tls_handshaking += 1
                return client
        return None

    def _wait_in_line(self) -> None:
        if not self._in_line:
            self._in_line = True
            self._turn.line_up(self._turn.new_line, self)
