"""``mpchat top`` on a terminal: asks each second, draws, and follows keys and signals.

Rules. Questions are asked in threads: a service that does not answer holds up no key. The status is not
asked for together with rooms and connections, since those need answers of processes that may be stuck.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, Generic, TypeVar

from rich.console import Console

from mpchat.cli.quantities import duration
from mpchat.cli.top.asking import EVERY, PATIENCE, STATUS, ask_details, in_background, now
from mpchat.cli.top.choices import Choices
from mpchat.cli.top.drawing import Size, has_blocks
from mpchat.cli.top.history import History
from mpchat.cli.top.keys import ESCAPE_SECONDS, Keys
from mpchat.cli.top.tables import Details
from mpchat.cli.top.terminal import ENDING, Signals, Terminal
from mpchat.cli.top.view import Shown, draw
from mpchat.ipc.control import ControlError, ask

T = TypeVar("T")

_LATE = 3.0
"""Seconds without an answer that are worth a remark."""


def watch(path: str) -> None:
    """Show the service of this control socket until the end is asked for.

    A signal other than Ctrl-C's ends the process in its own way, once the terminal is as it was.

    Raises:
        ControlError: No service answers at the beginning.
    """
    history = History()
    first = Shown(history.take(ask(path, STATUS), *now()))
    console = Console(file=sys.stdout, force_terminal=True, highlight=False)
    with Signals() as signals, Terminal(console, sys.stdin.fileno()) as terminal:
        number = _Top(path, history, first, signals, terminal, console).run()
    if number is not None and number != signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


class _Regularly(Generic[T]):
    """A question that is asked again and again, not before the last answer is there."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._answer: Future[T] | None = None
        self.due = 0.0
        """When it is to be asked again"""

    def ask(self, question: Callable[[], T], at: float) -> None:
        """Ask, if it is time to."""
        if self._answer is None and at >= self.due:
            self.due = at + EVERY
            self._answer = in_background(question, self._wake)

    def patience(self, at: float) -> float:
        """Return the seconds until it is to be asked again."""
        return EVERY if self._answer is not None else max(0.0, self.due - at)

    def take(self) -> Future[T] | None:
        """Return the answer once it is there."""
        if self._answer is None or not self._answer.done():
            return None
        answer, self._answer = self._answer, None
        return answer


class _Top:
    def __init__(
        self,
        path: str,
        history: History,
        first: Shown,
        signals: Signals,
        terminal: Terminal,
        console: Console,
    ) -> None:
        self._path = path
        self._history = history
        self._signals = signals
        self._terminal = terminal
        self._console = console
        self._keys = Keys()
        self._choices = Choices()
        self._shown = self._drawn = first
        """As it is, and what is drawn of that: as it was at a pause"""
        self._answered_at, self._answered_wall = now()
        self._refusal = ""
        """Why there was no answer the last time"""
        self._read_at = 0.0
        self._has_blocks = has_blocks(sys.stdout)
        self._status: _Regularly[dict[str, Any]] = _Regularly(signals.wake)
        self._status.due = self._answered_at + EVERY
        self._details: _Regularly[Details] = _Regularly(signals.wake)

    def run(self) -> int | None:
        """Return the number of the signal that has ended it, None if a key has."""
        while not self._choices.is_over:
            at = time.monotonic()
            self._ask(at)
            self._draw(at)
            numbers, has_input = self._signals.wait(self._terminal.keyboard, self._patience(at))
            if signal.SIGTSTP in numbers:
                self._terminal.give_back()
                self._signals.stop()
                # Somebody may have ended it while it was stopped.
                numbers |= self._signals.wait(self._terminal.keyboard, 0)[0]
            if ending := numbers.intersection(ENDING):
                return min(ending)
            if signal.SIGTSTP in numbers:
                self._terminal.take()
            elif signal.SIGCONT in numbers:
                self._terminal.keep()
            if has_input:
                data = self._terminal.read()
                if not data:
                    return signal.SIGHUP
                self._read_at = time.monotonic()
                self._press(self._keys.feed(data))
            elif time.monotonic() - self._read_at >= ESCAPE_SECONDS:
                self._press(self._keys.flush())
            self._take_answers()
        return None

    def _ask(self, at: float) -> None:
        self._status.ask(partial(ask, self._path, STATUS, PATIENCE), at)
        if self._wants_details():
            seen, choices = self._shown.seen, self._choices
            by = choices.connections.field
            self._details.ask(partial(ask_details, self._path, seen, choices.opened, by), at)

    def _wants_details(self) -> bool:
        return self._shown.seen.has_broker or self._choices.opened is not None

    def _patience(self, at: float) -> float:
        """Return the seconds after which there is something to do, even if nothing happens."""
        if self._keys.are_waiting:
            return ESCAPE_SECONDS
        seconds = self._status.patience(at)
        return min(seconds, self._details.patience(at)) if self._wants_details() else seconds

    def _draw(self, at: float) -> None:
        if not self._choices.is_paused:
            self._drawn = self._shown
        shown = replace(self._drawn, trouble=self._trouble(at))
        width, height = self._console.size
        self._terminal.draw(draw(shown, self._choices, Size(width, height, self._has_blocks)))

    def _trouble(self, at: float) -> str:
        silent = at - self._answered_at
        if not self._refusal and silent < _LATE:
            return ""
        reason = f": {self._refusal}" if self._refusal else ""
        return f"no answer since {self._answered_wall}, for {duration(silent)}{reason}"

    def _press(self, keys: list[str]) -> None:
        for key in keys:
            before = self._choices.opened, self._choices.connections
            rows = self._choices.workers.sort(self._drawn.seen.workers)
            self._choices.press(key, rows, len(self._drawn.details.connections))
            if before != (self._choices.opened, self._choices.connections):
                self._details.due = 0.0

    def _take_answers(self) -> None:
        if answer := self._status.take():
            try:
                status = answer.result()
            except ControlError as error:
                self._refusal = str(error)
                self._history.miss()
            else:
                self._refusal = ""
                self._answered_at, self._answered_wall = now()
                seen = self._history.take(status, self._answered_at, self._answered_wall)
                self._shown = replace(self._shown, seen=seen)
        if details := self._details.take():
            self._shown = replace(self._shown, details=details.result())
