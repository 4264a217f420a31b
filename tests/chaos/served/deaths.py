"""Deaths of a broker at the worst moments, planted into its code ("deaths" in sitecustomize.py).

Each broker dies some time after it first gets to one of these places, the next time that it gets to the
one drawn by lot, unless there is mercy: a file of that name in the service's folder.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

_LIVES = (0.0, 1.0), (1.1, 2.5), (1.1, 2.5), (1.1, 2.5), (1.1, 2.5)
"""Seconds that brokers live, at least and at most. If more died young, the next would be made to wait."""


class Fate:
    """When and where this process dies."""

    def __init__(self) -> None:
        # A forked process has the random numbers of its siblings.
        self._lot = random.SystemRandom()
        self._at = time.monotonic() + self._lot.uniform(*self._lot.choice(_LIVES))
        self._place = self._lot.choice(["torn", "stored", "answered", "one answered"])

    def write(self, descriptor: int, content: bytes, place: int) -> int:
        """Write to the history, or a part of it only."""
        if self._is_due("torn"):
            os.pwrite(descriptor, content[: self._lot.randrange(len(content) + 1)], place)
            _die()
        return os.pwrite(descriptor, content, place)

    def stored(self) -> None:
        """What was published is stored, and nobody has heard of it."""
        if self._is_due("stored"):
            _die()

    def send(self, pair: Any) -> None:
        """Send a worker what waits for it: as the first one, or as one of all."""
        if self._is_due("one answered"):
            # The loop would write at the end of its turn.
            pair._sock.send(b"".join(pair.out))
            _die()
        pair.send()
        if self._is_due("answered"):
            pair._broker._call_soon(_die)

    def _is_due(self, place: str) -> bool:
        due = place == self._place and time.monotonic() > self._at
        return due and not Path("mercy").exists()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


FATE = Fate()
