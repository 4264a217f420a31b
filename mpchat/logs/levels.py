"""Levels of loggers, and how they change while the service runs.

Rules. A logger's level comes from the first of these sources that names the logger: the dynamic config
(USERVER_LOG_DYNAMIC_DEBUG), an order of the operator, the static config or the author's code. A child
without its own level follows its parent, as always in ``logging``. ``default`` is the root logger.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Literal

TRACE = 5
Level = Literal["trace", "debug", "info", "warning", "error", "critical", "none"]
LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 10,
}
"""userver's names of levels, as numbers of ``logging``."""
DEFAULT = "default"
"""The root logger's name in the config."""


def find_logger(name: str) -> logging.Logger:
    """Return the logger with this name in the config."""
    return logging.getLogger() if name == DEFAULT else logging.getLogger(name)


class Levels:
    """The loggers of one process whose levels were changed, and their own levels."""

    def __init__(self) -> None:
        self._ordered: dict[str, int] = {}
        self._forced: dict[str, int] = {}
        self._given: dict[str, int] = {}
        self._own: dict[str, int] = {}

    def order(self, name: str, level: str | None) -> None:
        """Set a logger's level (a name of LEVELS) for the operator; None cancels the order."""
        if level is not None:
            self._ordered[name] = LEVELS[level]
        elif name in self._ordered:
            del self._ordered[name]
        else:
            return
        self._apply([name])

    def order_all(self, levels: Mapping[str, str]) -> None:
        """Follow the orders that were given before this process started."""
        self._ordered |= {name: LEVELS[level] for name, level in levels.items()}
        self._apply(levels)

    def force(self, levels: Mapping[str, int]) -> None:
        """Follow the dynamic config: it sets the levels of these loggers, and of no others."""
        self._forced = dict(levels)
        self.apply()

    def apply(self) -> None:
        """Set all levels; call this again after code that may have set levels itself."""
        self._apply(self._given.keys() | self._ordered.keys() | self._forced.keys())

    def _apply(self, names: Iterable[str]) -> None:
        for name in names:
            logger = find_logger(name)
            if logger.level != self._given.get(name):
                self._own[name] = logger.level
            wanted = self._forced.get(name, self._ordered.get(name))
            if wanted is None:
                self._given.pop(name, None)
                wanted = self._own.pop(name)
            else:
                self._given[name] = wanted
            # Each call of setLevel clears the level caches of all loggers in the process.
            if logger.level != wanted:
                logger.setLevel(wanted)


def forced_levels(
    enabled: Iterable[str],
    disabled: Iterable[str],
    enabled_from: Mapping[str, str],
    disabled_up_to: Mapping[str, str],
) -> dict[str, int]:
    """Return the level of each named logger; the more verbose wish wins.

    ``disabled`` keeps warnings and errors (as in userver), ``disabled_up_to`` turns off the given level
    and all below.
    """
    levels = dict.fromkeys(disabled, logging.WARNING)
    levels |= {name: LEVELS[level.lower()] + 1 for name, level in disabled_up_to.items()}
    levels |= {name: LEVELS[level.lower()] for name, level in enabled_from.items()}
    return levels | dict.fromkeys(enabled, TRACE)
