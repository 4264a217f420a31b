"""``mpchat status --watch``: the status again every few seconds, until Ctrl-C.

Rules. On a terminal each draw is one write that overwrites the last, on a screen of its own, so nothing
flickers and what stood there before comes back. Elsewhere the draws follow each other. A service that
does not answer is shown as such, since it may be about to come back.
"""

from __future__ import annotations

import os
import shutil
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from mpchat.cli.rates import Rates
from mpchat.cli.tables import status_lines
from mpchat.ipc.control import ControlError

_ENTER = "\x1b[?1049h\x1b[?25l"
"""Another screen, without a cursor (xterm's control sequences)"""
_LEAVE = "\x1b[?25h\x1b[?1049l"


class Watched:
    """The status of a service, with rates since it was last asked for."""

    def __init__(
        self, ask: Callable[[], dict[str, Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._rates = Rates()
        self._has_answered = False

    def lines(self, width: int | None) -> Iterable[str]:
        """Return the lines of the status as it is now.

        Raises:
            ControlError: The service does not answer, and never has.
        """
        try:
            answer = self._ask()
        except ControlError as error:
            if not self._has_answered:
                raise
            self._rates.forget()
            return textwrap.wrap(str(error), width or len(str(error)))
        self._has_answered = True
        return status_lines(self._rates.take(answer, self._clock()), width, per_second=True)


def screen(lines: Sequence[str], columns: int, rows: int) -> str:
    """Return what overwrites a screen of this size by these lines, as far as they fit."""
    shown = [line[:columns] for line in lines]
    if len(shown) > rows:
        shown[rows - 1 :] = [f"({len(shown) - rows + 1} more lines)"[:columns]]
    return "\x1b[H" + "\n".join(f"{line}\x1b[K" for line in shown) + "\x1b[J"


def watch(watched: Watched, seconds: float, *, wide: bool, stream: TextIO) -> None:
    """Show the status every ``seconds`` until Ctrl-C, or until nobody reads it any more.

    Raises:
        ControlError: No service answers at the beginning.
    """
    with until_nobody_reads(stream):
        if stream.isatty():
            stream.write(_ENTER)
            try:
                _repeat(lambda: _draw(watched, stream, wide=wide), seconds)
            finally:
                stream.write(_LEAVE)
                stream.flush()
        else:
            _repeat(lambda: _append(watched, stream), seconds)


@contextmanager
def until_nobody_reads(stream: TextIO) -> Iterator[None]:
    """End the block well by Ctrl-C, or when nobody reads any more what it writes."""
    try:
        yield
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # `| head` has closed the pipe; at exit the interpreter must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _repeat(show: Callable[[], None], seconds: float) -> NoReturn:
    while True:
        show()
        time.sleep(seconds)


def _append(watched: Watched, stream: TextIO) -> None:
    stream.write("\n".join([*watched.lines(None), "", ""]))
    stream.flush()


def _draw(watched: Watched, stream: TextIO, *, wide: bool) -> None:
    size = shutil.get_terminal_size()
    lines = list(watched.lines(None if wide else size.columns))
    stream.write(screen(lines, size.columns, size.lines))
    stream.flush()
