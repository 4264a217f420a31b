"""What the person at the keys has chosen: where to look, and in which order.

Rules. Pure: keys in, choices out. A chosen worker stays chosen while others come and go; when it is
replaced, its successor is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mpchat.cli.top.columns import CONNECTIONS, WORKERS, Sorting
from mpchat.cli.top.rows import Row

_PAGE = 10
"""Rows of a page."""
_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -_PAGE, "pagedown": _PAGE}


@dataclass
class Choices:
    """The state of the view.

    Attributes:
        workers: The order of workers.
        connections: The order of connections.
        opened: The slot whose connections are shown; None: the workers are.
        scrolled: How many connections are above the first one that is shown.
        has_help: Whether the help is shown.
        is_paused: Whether what is shown stays as it is.
        is_over: Whether the end is asked for.
    """

    workers: Sorting = field(default_factory=lambda: Sorting(WORKERS, "WORKER", descending=False))
    connections: Sorting = field(
        default_factory=lambda: Sorting(CONNECTIONS, "IN", descending=True)
    )
    opened: int | None = None
    scrolled: int = 0
    has_help: bool = False
    is_paused: bool = False
    is_over: bool = False
    _chosen: tuple[int | None, int | None] | None = None
    """Slot and pid"""

    def chosen(self, rows: Sequence[Row]) -> int:
        """Return the index of the chosen worker among these rows; the first one if it has none left."""
        if self._chosen is None:
            return 0
        slot, _pid = self._chosen
        of_slot = [index for index, row in enumerate(rows) if row.slot == slot]
        exact = [index for index in of_slot if rows[index].key == self._chosen]
        return next(iter([*exact, *of_slot]), 0)

    def press(self, key: str, rows: Sequence[Row], connections: int) -> None:
        """Follow a key.

        Args:
            key: Its name, as ``Keys`` has it.
            rows: The workers in the order in which they are shown.
            connections: How many connections there are to scroll through.
        """
        if key == "q":
            self.is_over = True
        elif self.has_help:
            self.has_help = False
        elif key == "?":
            self.has_help = True
        elif key == "p":
            self.is_paused = not self.is_paused
        elif key == "escape":
            self.opened = None
        elif key == "enter" and self.opened is None:
            if rows:
                self.opened, self.scrolled = rows[self.chosen(rows)].slot, 0
                self.is_paused = False
        elif self.opened is None:
            self._press_on_workers(key, rows)
        else:
            self._press_on_connections(key, connections)

    def _press_on_workers(self, key: str, rows: Sequence[Row]) -> None:
        last = len(rows) - 1
        if key in _STEPS or key in {"home", "end"}:
            to = {"home": 0, "end": last}.get(key, self.chosen(rows) + _STEPS.get(key, 0))
            if rows:
                self._chosen = rows[max(0, min(last, to))].key
        else:
            self.workers = _ordered(self.workers, key)

    def _press_on_connections(self, key: str, connections: int) -> None:
        last = max(0, connections - 1)
        if key in _STEPS or key in {"home", "end"}:
            to = {"home": 0, "end": last}.get(key, self.scrolled + _STEPS.get(key, 0))
            self.scrolled = max(0, min(last, to))
        else:
            self.connections = _ordered(self.connections, key)


def _ordered(sorting: Sorting, key: str) -> Sorting:
    """Return the order after a key, the same for a key that says nothing of it."""
    if key == "r":
        return sorting.reversed()
    if key in {"left", "right"}:
        return sorting.moved(1 if key == "right" else -1)
    return sorting.by_letter(key) or sorting
