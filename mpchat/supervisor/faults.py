"""What goes wrong in the supervisor's own loop: said, counted, put off, and at last given up.

Rules. Nothing that a step of the loop raises ends the service. What the system refuses is one line;
any other exception is a bug of ours and shows its traceback. A source that keeps failing must not burn
a core: a step that failed is put off, a turn that failed waits before the next, both for 1 ms,
doubling to 1 s. Only a hundred failed turns in a row, over at least a minute, are too many.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from mpchat.supervisor.log import Log

FIRST_WAIT = 0.001
LONGEST_WAIT = 1.0
MAX_TURNS = 100
"""Failed turns in a row after which the loop gives up, if they took a minute as well"""
MAX_TURNS_SECONDS = 60.0


class Faults:
    """The faults of one loop.

    Attributes:
        count: How many there were, ever.
    """

    def __init__(self, log: Log) -> None:
        self.count = 0
        self._log = log
        self._in_turn = False
        self._turns = 0
        self._first_at = 0.0
        self._put_off: dict[str, tuple[float, float]] = {}
        """By step: until when, and how long that was"""

    def attempt(self, what: str, step: Callable[[], object]) -> bool:
        """Do something; return whether it was done. ``what`` completes "cannot …"."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - no exception may end the loop
            self.note(what, error)
            return False
        return True

    def attempt_later(self, what: str, step: Callable[[], object], now: float) -> None:
        """Do something, unless it failed a moment ago: then do it later."""
        until, waited = self._put_off.get(what, (0.0, 0.0))
        if now < until:
            return
        if self.attempt(what, step):
            self._put_off.pop(what, None)
            return
        wait = min(max(FIRST_WAIT, 2 * waited), LONGEST_WAIT)
        self._put_off[what] = (now + wait, wait)

    def put_off(self, what: str, due: float | None) -> float | None:
        """Return when a step is to be done that has to be done then."""
        if what not in self._put_off:
            return due
        until, _wait = self._put_off[what]
        return until if due is None else max(due, until)

    def note(self, what: str, error: BaseException) -> None:
        """Count a fault and say it."""
        self.count += 1
        self._in_turn = True
        try:
            self._log.error(f"cannot {what}: {describe(error)}")
        except MemoryError:
            # The count has to do: there is no memory for the words.
            return

    def end_turn(self, now: float) -> bool:
        """Return whether so many turns have failed that the service has to end."""
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
        return min(FIRST_WAIT * 2.0 ** (self._turns - 1), LONGEST_WAIT) if self._turns else 0.0


def describe(error: BaseException) -> str:
    """Say what the system refused in a few words, and anything else with its traceback."""
    if isinstance(error, OSError) and error.errno:
        return error.strerror or str(error)
    if isinstance(error, MemoryError):
        return "Cannot allocate memory"
    return "a bug in mpchat\n" + "".join(traceback.format_exception(error)).rstrip()
