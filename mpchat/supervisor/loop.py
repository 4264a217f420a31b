"""One turn of the supervisor's loop: wait, act on signals, read children, reap them, run the steps.

Rules. The loop blocks only in its one ``poll``. No exception ends a turn (see ``faults``): a signal, a
message, the end of a child or a step whose handling failed is handled again.
"""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from mpchat.ipc import messages
from mpchat.linux import system
from mpchat.supervisor.child import Child
from mpchat.supervisor.family import Family
from mpchat.supervisor.faults import Faults
from mpchat.supervisor.signals import Signals

_LATE_SECONDS = 1.0
"""Seconds: a loop that stood still this long cannot tell whether a child did as well."""
_MAX_WAIT_MS = 86_400_000.0
"""A day, in milliseconds; ``poll`` takes a C int."""


@dataclass(frozen=True)
class Step:
    """A task that the loop may run in every turn."""

    what: str
    """Completes "cannot …" in the log"""
    due: Callable[[], float | None]
    """Returns the time at which the loop must run it, None if there is none"""
    run: Callable[[float], None]
    """Called in every turn with the time; does nothing before it is due"""


class Life(Protocol):
    """A life that the loop drives: ``Boot``, then ``Service``."""

    @property
    def steps(self) -> Sequence[Step]:
        """The steps of this life, in order."""

    @property
    def exit_code(self) -> int | None:
        """The service's exit code once it is over; else None."""

    def on_signal(self, number: signal.Signals, now: float) -> None:
        """Act on a signal."""

    def on_message(
        self, child: Child, message: messages.Message, descriptors: list[int], now: float
    ) -> None:
        """Handle a message of a child; the descriptors are ours to close."""

    def on_gone(self, child: Child, now: float) -> None:
        """Handle the end of a child."""


class Loop:
    """The turns of one supervisor.

    Attributes:
        life: Handles signals, messages and the ends of children; may be replaced at any time.
    """

    def __init__(
        self, signals: Signals, family: Family, faults: Faults, steps: Sequence[Step], life: Life
    ) -> None:
        self.life = life
        self._signals = signals
        self._family = family
        self._faults = faults
        self._steps = steps
        """The steps of every life"""
        self._last_turn = time.monotonic()

    def turn(self) -> None:
        """Wait for events and handle them."""
        faults, family = self._faults, self._family
        if faults.wait:
            faults.attempt("wait for signals", partial(self._wait_for_signals, faults.wait))
        faults.attempt("wait for events", self._wait)
        now = time.monotonic()
        waited = now - self._last_turn
        faults.attempt("empty the pipe of signals", self._signals.drain)
        self._act_on_signals(now)
        for child in family:
            if waited > _LATE_SECONDS:
                child.answers.postpone(now)
            family.read(child, now)
        faults.attempt("take exit statuses", partial(family.reap, now))
        for child in family.gone():
            end = partial(self.life.on_gone, child, now)
            if faults.attempt(f"deal with the end of {child.name} pid {child.pid}", end):
                child.release()
        for step in (*self.life.steps, *self._steps):
            faults.attempt_later(step.what, partial(step.run, now), now)
        self._last_turn = time.monotonic()

    def _wait(self) -> None:
        poller = select.poll()
        poller.register(self._signals.fileno(), select.POLLIN)
        self._family.register(poller)
        now = time.monotonic()
        steps = (*self.life.steps, *self._steps)
        times = [self._faults.put_off(step.what, step.due()) for step in steps]
        times.append(self._family.retry_due(now))
        # A signal that could not be acted on does not come again by itself.
        times.append(now if self._signals.count else None)
        due = min((at for at in times if at is not None), default=None)
        # Rounded up: a wait that ends a moment early would turn in circles until the time has come.
        timeout = None if due is None else min(max(0.0, due - now) * 1000 + 1, _MAX_WAIT_MS)
        system.poll(poller, timeout)

    def _wait_for_signals(self, seconds: float) -> None:
        """Wait after a turn that failed, for signals only."""
        poller = select.poll()
        poller.register(self._signals.fileno(), select.POLLIN)
        try:
            system.poll(poller, seconds * 1000)
        except OSError:
            system.sleep(seconds)
            raise

    def _act_on_signals(self, now: float) -> None:
        # No more than there are now: a flood must not keep the rest of the turn waiting.
        for _ in range(self._signals.count):
            number = self._signals.take()
            act = partial(self.life.on_signal, number, now)
            if not self._faults.attempt(f"act on {number.name}", act):
                self._signals.put_back(number)
                return
