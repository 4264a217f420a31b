"""Requests for restarts that wait for their turn.

Rules. A request for the whole service stands for all that wait, whatever came first: those for the whole
service because they want the same, those for one slot because it is among all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpchat.supervisor.reload import Asker


@dataclass(frozen=True)
class Request:
    """A restart of one slot, or of all (None), and who is told its end."""

    slot: int | None
    askers: list[Asker]


class Requests:
    """What has been asked for and not begun."""

    def __init__(self) -> None:
        self._waiting: dict[int | None, list[Asker]] = {}

    def add(self, slot: int | None, askers: Sequence[Asker]) -> None:
        """Note a request."""
        if slot is None:
            before = [asker for waiting in self._waiting.values() for asker in waiting]
            self._waiting = {None: before}
        elif None in self._waiting:
            slot = None
        self._waiting.setdefault(slot, []).extend(askers)

    def take(self) -> Request | None:
        """Return the oldest one, None if there is none."""
        if not self._waiting:
            return None
        slot = next(iter(self._waiting))
        return Request(slot, self._waiting.pop(slot))

    def refuse(self, reason: str) -> None:
        """Tell all who wait that nothing will come of it."""
        while (request := self.take()) is not None:
            for asker in request.askers:
                asker(reason)
