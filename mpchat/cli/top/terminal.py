"""The terminal while it is ours, and the signals that come with it.

Rules. However it ends, the terminal is as it was: without our screen, with its cursor and its echo.
Signal handlers only record. Signals that were ignored when the command began stay ignored.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import termios
from collections.abc import Sequence
from typing import Any, Self

from rich.console import Console
from rich.control import Control
from rich.screen import Screen
from rich.text import Text

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_HANDLED = (*ENDING, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
_READ = 1024
_LOCAL, _CHARACTERS = 3, 6
"""Indices of c_lflag and c_cc"""
_WOKEN = b"\0"
"""Among the numbers of signals"""


class Signals:
    """Records signals within its block, and wakes whoever waits for them."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # The interpreter writes each number there (signal.set_wakeup_fd), if a handler is in Python.
        self._wakeup = signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)
        for number in _HANDLED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, _record)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._near.close()
        self._far.close()

    def wake(self) -> None:
        """End the wait from another thread; later it does nothing."""
        with contextlib.suppress(OSError):
            self._far.send(_WOKEN)

    def wait(self, descriptor: int, seconds: float) -> tuple[set[int], bool]:
        """Wait for a signal, a wake or input; return the signals, and whether there is input."""
        near = self._near.fileno()
        readable, _, _ = select.select([near, descriptor], [], [], seconds)
        found = set(self._near.recv(_READ)) if near in readable else set()
        return found - set(_WOKEN), descriptor in readable

    def stop(self) -> None:
        """Be stopped by SIGTSTP, as if nobody handled it; return when the process is continued."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _record)


def _record(_number: int, _frame: object) -> None:
    """Leave it to ``set_wakeup_fd``."""


class Terminal:
    """A terminal that shows one screen after the other; use it as a context manager.

    Attributes:
        keyboard: The descriptor that keys are read from.
    """

    def __init__(self, console: Console, keyboard: int) -> None:
        self._console = console
        self.keyboard = keyboard
        self._before = termios.tcgetattr(keyboard)
        self._ours = termios.tcgetattr(keyboard)
        self._ours[_LOCAL] &= ~(termios.ECHO | termios.ICANON)
        # Each byte can be read at once.
        self._ours[_CHARACTERS][termios.VMIN], self._ours[_CHARACTERS][termios.VTIME] = 1, 0
        self._is_taken = False

    def __enter__(self) -> Self:
        try:
            self.take()
        except BaseException:
            self.give_back()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.give_back()

    def take(self) -> None:
        """Have a screen of its own, without a cursor, and keys at once and unseen."""
        self._is_taken = True
        self._set_modes(self._ours)
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def keep(self) -> None:
        """Have what a shell may have changed while the process was stopped."""
        self._set_modes(self._ours)
        self._console.show_cursor(False)

    def give_back(self) -> None:
        """Make the terminal as it was, if it is taken; one that is gone needs nothing."""
        if not self._is_taken:
            return
        self._is_taken = False
        with contextlib.suppress(OSError):
            self._console.show_cursor(True)
            self._console.set_alt_screen(False)
        with contextlib.suppress(termios.error):
            self._set_modes(self._before)

    def _set_modes(self, modes: list[Any]) -> None:
        while True:
            try:
                termios.tcsetattr(self.keyboard, termios.TCSADRAIN, modes)
                return
            except termios.error as error:
                # In the background the kernel stops us first (SIGTTOU), and then ends the call.
                if error.args[0] != errno.EINTR:
                    raise

    def draw(self, lines: Sequence[Text]) -> None:
        """Show these lines and nothing else, by one write."""
        text = Text("\n", no_wrap=True, overflow="crop", end="").join(lines)
        with self._console:
            self._console.control(Control.home())
            self._console.print(Screen(text), end="")

    def read(self) -> bytes:
        """Return the bytes of keys that have been pressed; none if the terminal is gone."""
        try:
            return os.read(self.keyboard, _READ)
        except OSError:
            return b""
