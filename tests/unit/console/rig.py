"""A scoreboard as the processes of a service fill it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mpchat.console.collector import Collector
from mpchat.metrics.families import Distribution, Family
from mpchat.scoreboard.broker import BROKER_STATES
from mpchat.scoreboard.counters import Counters
from mpchat.scoreboard.handlers import Served
from mpchat.scoreboard.scoreboard import WORKER_STATES, Row, Scoreboard

POOL = "main-task-processor"
CHAT, PING = Served("chat", "/chat/{room}", True), Served("handler-ping", "/ping", False)
READY = WORKER_STATES.index("ready")


class Slots:
    """Workers that publish what they are told to have counted."""

    def __init__(self, count: int) -> None:
        self.board = Scoreboard.create()
        self.board.set_service("slots", count)
        self.board.set_service("pid", os.getpid())
        self.board.set_service("full_attempts", 1)
        self.board.set_broker("state", BROKER_STATES.index("ready"))
        self.certificates: list[dict[str, Any]] = []
        self._rows: list[Row] = []
        self.workers = [self.start(slot, 0) for slot in range(count)]
        self.collector = Collector(self.board, POOL, lambda: self.certificates)

    def start(self, slot: int, row: int, handlers: tuple[Served, ...] = (CHAT, PING)) -> Worker:
        """Start a worker, continuing what others have counted in its row."""
        worker = Worker(self.board, slot, row, handlers)
        self._rows.append(worker.row)
        for name, value in (("state", READY), ("pid", os.getpid())):
            self.board.set_slot(slot, f"{name}_{row}", value)
        return worker

    def close(self) -> None:
        """Unmap it."""
        for row in self._rows:
            row.release()
        self.board.close()

    def values(self) -> dict[str, dict[tuple[str, ...], float | Distribution]]:
        """Return all values, by name and the values of labels."""
        return values_of(self.collector.collect())

    def value(self, name: str, *labels: str) -> float:
        """Return one of them."""
        found = self.values()[name][labels]
        assert not isinstance(found, Distribution)
        return found


class Worker:
    """One of them."""

    def __init__(
        self, board: Scoreboard, slot: int, row: int, handlers: tuple[Served, ...]
    ) -> None:
        self.counters = Counters()
        self.row = board.row(slot, row)
        directory = board.directory()
        numbers = directory.numbers(handlers)
        directory.release()
        self.numbers = dict(zip(handlers, numbers, strict=True))
        self.row.continue_traffic({one.name: number for one, number in self.numbers.items()})

    def publish(self) -> None:
        """Store what was counted."""
        self.row.publish(self.counters)


def values_of(
    families: list[Family],
) -> dict[str, dict[tuple[str, ...], float | Distribution]]:
    """Return the values of families, by name and the values of labels."""
    return {
        family.name: {
            tuple(value for _label, value in sample.labels): sample.value
            for sample in family.samples
        }
        for family in families
    }


@contextmanager
def filled(count: int) -> Iterator[Slots]:
    """Return the scoreboard of a service with so many workers."""
    slots = Slots(count)
    try:
        yield slots
    finally:
        slots.close()
