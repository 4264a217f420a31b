"""Faults of the supervisor's own loop: logged, counted, put off, and in the end given up on.

Rules. No exception of a step ends the service. A call that the system refuses is logged in one line; any
other exception is a bug of ours and is logged with its traceback. A fault that repeats must not burn a
core: a step that failed is put off, and a turn that failed waits before the next, both for 1 ms,
doubling to 1 s. Only a hundred failed turns in a row, over at least a minute, end the service.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from mpchat.supervisor.log import Log

FIRST_WAIT = 0.001
"""Seconds that a step or turn waits after its first failure."""
MAX_WAIT = 1.0
"""Seconds that it waits after many in a row."""
MAX_TURNS = 100
"""Failed turns in a row after which the service ends, if they took MAX_TURNS_SECONDS as well."""
MAX_TURNS_SECONDS = 60.0


class Faults:
    """The faults of one loop.

    Attributes:
        count: Faults since the start.
    """

    def __init__(self, log: Log) -> None:
        self.count = 0
        self._log = log
        self._in_turn = False
        self._turns = 0
        self._first_at = 0.0
        self._put_off: dict[str, tuple[float, float]] = {}
        """By step: when to try again, and the seconds of that wait"""

    def attempt(self, what: str, step: Callable[[], object]) -> bool:
        """Run a step; return whether it succeeded. ``what`` completes "cannot …"."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - no exception may end the loop
            self.note(what, error)
            return False
        return True

    def attempt_later(self, what: str, step: Callable[[], object], now: float) -> None:
        """Run a step, unless it failed a moment ago and its wait is not over."""
        until, waited = self._put_off.get(what, (0.0, 0.0))
        if now < until:
            return
        if self.attempt(what, step):
            self._put_off.pop(what, None)
            return
        wait = min(max(FIRST_WAIT, 2 * waited), MAX_WAIT)
        self._put_off[what] = (now + wait, wait)

    def put_off(self, what: str, due: float | None) -> float | None:
        """Return when to run a step that is due at ``due``, its wait after a failure included."""
        if what not in self._put_off:
            return due
        until, _wait = self._put_off[what]
        return until if due is None else max(due, until)

    def note(self, what: str, error: BaseException) -> None:
        """Count and log a fault."""
        self.count += 1
        self._in_turn = True
        try:
            self._log.error(f"cannot {what}: {describe(error)}")
        except MemoryError:
            # There is no memory for the line; the fault is counted.
            return

    def end_turn(self, now: float) -> bool:
        """Return whether too many turns in a row have failed."""
        if not self._in_turn:
            self._turns = 0
            return False
        self._in_turn = False
        if not self._turns:
            self._first_at = now
        self._turns += 1
        return self._turns >= MAX_TURNS and now - self._first_at >= MAX_TURNS_SECONDS

    @property
    def wait(self) -> float:
        """Seconds to wait before the next turn; 0 after one that did not fail."""
        return min(FIRST_WAIT * 2.0 ** (self._turns - 1), MAX_WAIT) if self._turns else 0.0


def describe(error: BaseException) -> str:
    """Return the reason of a refused call in a few words, or the traceback of a bug."""
    if isinstance(error, OSError) and error.errno:
        return error.strerror or str(error)
    if isinstance(error, MemoryError):
        return "Cannot allocate memory"
    return "a bug in mpchat\n" + "".join(traceback.format_exception(error)).rstrip()
