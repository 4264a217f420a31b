"""Which worker accepts for a slot whose own worker cannot: pure decisions.

Rules. A slot is needy while it has no worker that is ready and whose loop beats; a helper is such a
worker of another slot. Each needy slot has one helper as long as there is any. It keeps the helper that
it has; else it takes the worker that helps the fewest slots, and among equals the next neighbour, so that
adopted slots spread. A slot's own worker and its helper may both accept: a connection is accepted once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Helper:
    """A worker that may accept for others."""

    worker: int
    slot: int


@dataclass(frozen=True)
class Change:
    """A worker begins, or ends, to accept from the sockets of another slot."""

    worker: int
    slot: int
    begins: bool


class Adoption:
    """Which worker helps which slot."""

    def __init__(self) -> None:
        self._helpers: dict[int, Helper] = {}

    def helper_of(self, slot: int) -> Helper | None:
        """Return who accepts for a slot, None if nobody else does."""
        return self._helpers.get(slot)

    def assign(self, needy: Iterable[int], helpers: Iterable[Helper], slots: int) -> list[Change]:
        """Return what has to change now that these slots need help and these workers can give it."""
        wanted = set(needy)
        able = set(helpers)
        changes = [
            Change(helper.worker, slot, begins=False)
            for slot, helper in self._helpers.items()
            if slot not in wanted or helper not in able
        ]
        for change in changes:
            del self._helpers[change.slot]
        load = {helper: 0 for helper in able}
        for helper in self._helpers.values():
            load[helper] += 1
        for slot in sorted(wanted - self._helpers.keys()):
            if not able:
                break
            # The worker's number breaks the last tie: two of a slot are possible while it restarts.
            chosen = min(able, key=lambda h: (load[h], (h.slot - slot) % slots, h.worker))
            self._helpers[slot] = chosen
            load[chosen] += 1
            changes.append(Change(chosen.worker, slot, begins=True))
        return changes

    def refused(self, worker: int, slot: int) -> None:
        """Forget that a worker helps a slot: it could not take the socket."""
        helper = self._helpers.get(slot)
        if helper is not None and helper.worker == worker:
            del self._helpers[slot]
