"""The format ``text``, for people at a terminal: short lines, and tracebacks with real line ends.

Rules. A line begins with its time, and every other line with a mark. So a client cannot forge a line,
though the text of an exception may repeat what the client sent. Line ends in a message are escaped, as
are all control characters; only a traceback has line ends of its own. A backslash stands for itself,
because source lines are full of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from mpchat.linux import system
from mpchat.loglines.line import FORMATS, Encode, Fields, escape_controls

_STANDARD = {"@stdout": 1, "@stderr": 2}
_MARK = "  | "
_OURS = ("mpchat.handlers.", "mpchat.components.", "mpchat.")
"""Beginnings of loggers' names that a reader knows without seeing them."""
_BOLD_RED, _RED, _YELLOW, _GREEN, _DIM = "1;31", "31", "33", "32", "2"
_COLOURS = {"CRITICAL": _BOLD_RED, "ERROR": _RED, "WARNING": _YELLOW, "INFO": _GREEN}
"""Parameters of SGR (ECMA-48, 8.3.117); other levels are dim."""


def encoder(log_format: str, path: str, environment: Mapping[str, str] = os.environ) -> Encode:
    """Return the format for a log at this path.

    ``text`` has colours on a terminal, unless NO_COLOR is set (no-color.org).
    """
    if log_format != "text":
        return FORMATS[log_format]
    return coloured if is_terminal(path) and not environment.get("NO_COLOR") else plain


def is_terminal(path: str) -> bool:
    """Return whether a log at this path is read by a person as it is written."""
    return path in _STANDARD and system.isatty(_STANDARD[path])


def plain(fields: Fields, text: str, traceback: str) -> bytes:
    """Return ``12:34:56.789 INFO 2 handler-chat 45b5-1 GET /chat 101``, and the traceback below."""
    head, more = _parts(fields, text, traceback)
    return "".join([f"{head}\n", *(f"{_MARK}{line}\n" for line in more)]).encode()


def coloured(fields: Fields, text: str, traceback: str) -> bytes:
    """Return the same in colours."""
    head, more = _parts(fields, text, traceback)
    time, level, rest = head.split(" ", 2)
    colour = _COLOURS.get(level, _DIM)
    first = f"{_in(_DIM, time)} {_in(colour, level)} {rest}\n"
    return "".join([first, *(f"{_in(_DIM, _MARK)}{line}\n" for line in more)]).encode()


def _in(colour: str, text: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"


def _parts(fields: Fields, text: str, traceback: str) -> tuple[str, list[str]]:
    """Return the first line, and those of the traceback; no line end is in any of them."""
    worker = str(fields["worker"]).rpartition("/")[2]
    logger = str(fields["module"])
    for prefix in _OURS:
        logger = logger.removeprefix(prefix)
    words = [str(fields["timestamp"])[11:23], str(fields["level"]), worker]
    if logger != worker:
        words.append(logger)
    if "connection" in fields:
        words.append(str(fields["connection"]))
    head = escape_controls(" ".join([*words, text]))
    return head, [escape_controls(line) for line in traceback.split("\n")] if traceback else []
