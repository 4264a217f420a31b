"""Tables without colours, keys and a screen of their own, for dumb terminals, pipes and files."""

from __future__ import annotations

import shutil
import time
from typing import NoReturn, TextIO

from mpchat.cli.top.asking import EVERY, STATUS, ask_details, now
from mpchat.cli.top.choices import Choices
from mpchat.cli.top.drawing import Size, has_blocks
from mpchat.cli.top.history import History
from mpchat.cli.top.view import Shown, draw
from mpchat.ipc.control import ControlError, ask

_WIDE = 160
"""Columns where there is no terminal: room for all columns of the table."""


def print_once(path: str, stream: TextIO) -> None:
    """Print one table, with the rates of a second.

    Raises:
        ControlError: No service answers.
    """
    history = History()
    history.take(ask(path, STATUS), *now())
    time.sleep(EVERY)
    _print(path, history, stream, _WIDE)


def print_forever(path: str, stream: TextIO) -> NoReturn:
    """Print a table each second; a service that stops answering is shown as such until it is back.

    Raises:
        ControlError: No service answers at the beginning.
    """
    history = History()
    history.take(ask(path, STATUS), *now())
    while True:
        time.sleep(EVERY)
        try:
            _print(path, history, stream, shutil.get_terminal_size().columns)
        except ControlError as error:
            history.miss()
            stream.write(f"{error}\n")
        stream.write("\n")
        stream.flush()


def _print(path: str, history: History, stream: TextIO, width: int) -> None:
    seen = history.take(ask(path, STATUS), *now())
    details = ask_details(path, seen, None, "")
    within = Size(width, None, has_blocks(stream))
    for line in draw(Shown(seen, details), Choices(), within):
        stream.write(f"{line.plain.rstrip()}\n")
