"""The memories of authors' metrics: that of the current edition, and older ones that still count.

Rules. An edition has its memory before it has a worker, and keeps it as long as workers may write there.
When a new one is made, the totals of those that nobody writes any more are carried into it, and they go.
So the memories are at any time a whole: who is given a new set at once sees no sum fall or double.
"""

from __future__ import annotations

from collections.abc import Mapping

from mpchat.errors import ExitCode, StartError, describe_os_error
from mpchat.metrics.directory import parse
from mpchat.metrics.memory import Memory
from mpchat.metrics.totals import carry, find_changed
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.supervisor.child import Child
from mpchat.supervisor.log import Log


class Memories:
    """The memories that count, by edition."""

    def __init__(self, log: Log, scoreboard: Scoreboard, workers: Mapping[int, Child]) -> None:
        self._log = log
        self._scoreboard = scoreboard
        self._workers = workers
        self._kept: dict[int, Memory] = {}

    def make(self, edition: int, metrics: object, current: int) -> None:
        """Have a memory for an edition with these metrics; ``current`` is the edition in force.

        Raises:
            StartError: The system refuses it, or the template names metrics that cannot be.
        """
        try:
            declared = parse(metrics)
        except ValueError as error:
            text = f"the template names metrics that cannot be: {error}"
            raise StartError(text, ExitCode.SOFTWARE) from error
        written = {worker.edition for worker in self._workers.values()} | {current}
        idle = [number for number in self._in_order(current) if number not in written]
        carried = carry(
            declared, [self._kept[number] for number in idle], self._scoreboard.service("slots")
        )
        try:
            memory = Memory.create(declared, carried.totals)
        except OSError as error:
            text = f"the system refuses memory for the authors' metrics: {describe_os_error(error)}"
            raise StartError(text, ExitCode.OS) from error
        for name in find_changed(declared, self.counting(current)):
            self._log.warning(
                f"the metric {name} is of another kind now, or has other labels or bounds: it begins anew"
            )
        for name in carried.dropped:
            self._log.warning(
                f"the metric {name} is in no component any more, and there is no room for its totals"
            )
        for number in idle:
            self._kept.pop(number).close()
        self._kept[edition] = memory

    def of(self, edition: int) -> Memory:
        """Return the memory that the workers of an edition write."""
        return self._kept[edition]

    def counting(self, current: int) -> tuple[Memory, ...]:
        """Return all memories that count, that of the current edition first."""
        return tuple(self._kept[number] for number in self._in_order(current))

    def ended(self, worker: Child) -> None:
        """Take back the gauges of a worker that is gone."""
        if worker.edition in self._kept:
            self._kept[worker.edition].zero_gauges(worker.slot, worker.row)

    def close(self) -> None:
        """Close all of them."""
        while self._kept:
            self._kept.popitem()[1].close()

    def _in_order(self, current: int) -> list[int]:
        """Return the editions: the current one, then the newest of the others."""
        return sorted(self._kept, key=lambda number: (number != current, -number))
