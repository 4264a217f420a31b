"""The metrics that components declare, added up over all workers, living and dead.

Rules. The memories that count come from the supervisor, always all of them at once, so no sum falls or is
doubled while one takes the place of another. Here they are only read.
"""

from __future__ import annotations

from collections.abc import Iterable

from mpchat.linux import descriptors as fds
from mpchat.metrics.families import Family
from mpchat.metrics.memory import Memory
from mpchat.metrics.totals import families_of
from mpchat.scoreboard.scoreboard import Scoreboard


class AuthorsMetrics:
    """Reads the memories of one service."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._memories: list[Memory] = []

    def replace(self, descriptors: list[int]) -> None:
        """Read these memories from now on, that of the current edition first; they become ours.

        Raises:
            OSError: The system refuses to map one; the old ones stay.
        """
        memories: list[Memory] = []
        try:
            for descriptor in descriptors:
                memories.append(Memory(descriptor))
        except BaseException:
            fds.close_all(descriptors[len(memories) :])
            _close(memories)
            raise
        _close(self._memories)
        self._memories = memories

    def collect(self) -> list[Family]:
        """Return all metrics, also those that only earlier code had."""
        return families_of(self._memories, self._board.service("slots"))


def _close(memories: Iterable[Memory]) -> None:
    for memory in memories:
        memory.close()
