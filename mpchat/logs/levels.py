"""Levels of loggers, and how they change while the service runs.

Rules. A logger's level comes from the first of these that names it: the dynamic config
(USERVER_LOG_DYNAMIC_DEBUG), an order of the operator, the static config or the author's code. What no
longer names it gives way to the next. A child without a level of its own follows its parent, as always in
``logging``. ``default`` is the root logger.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

TRACE = 5
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
"""What the config calls the root logger."""


def find_logger(name: str) -> logging.Logger:
    """Return the logger that the config calls so."""
    return logging.getLogger() if name == DEFAULT else logging.getLogger(name)


class Levels:
    """The loggers of one process whose levels were changed, and what they would be otherwise."""

    def __init__(self) -> None:
        self._ordered: dict[str, int] = {}
        self._forced: dict[str, int] = {}
        self._given: dict[str, int] = {}
        self._own: dict[str, int] = {}

    def order(self, name: str, level: str | None) -> None:
        """Change a logger's level (a name of LEVELS) for the operator; None takes the order back."""
        if level is not None:
            self._ordered[name] = LEVELS[level]
        elif name in self._ordered:
            del self._ordered[name]
        else:
            return
        self._apply([name])

    def order_all(self, levels: Mapping[str, str]) -> None:
        """Follow the orders that were given before this process began."""
        self._ordered |= {name: LEVELS[level] for name, level in levels.items()}
        self._apply(levels)

    def force(self, levels: Mapping[str, int]) -> None:
        """Follow the dynamic config: these loggers have these levels, all others their own."""
        self._forced = dict(levels)
        self.apply()

    def apply(self) -> None:
        """Set all levels; once more after code has run that may have set some itself."""
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
            # Each change has every logger of the process forget what it knows about levels.
            if logger.level != wanted:
                logger.setLevel(wanted)


def forced_levels(
    enabled: Iterable[str],
    disabled: Iterable[str],
    enabled_from: Mapping[str, str],
    disabled_up_to: Mapping[str, str],
) -> dict[str, int]:
    """Return the level of each logger that is named; the more verbose wish wins.

    ``disabled`` leaves warnings and errors on (as userver does), ``disabled_up_to`` turns off the
    level that it names and all below.
    """
    levels = dict.fromkeys(disabled, logging.WARNING)
    levels |= {name: LEVELS[level.lower()] + 1 for name, level in disabled_up_to.items()}
    levels |= {name: LEVELS[level.lower()] for name, level in enabled_from.items()}
    return levels | dict.fromkeys(enabled, TRACE)
