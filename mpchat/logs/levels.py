"""Levels of loggers, and how they change while the service runs.

Rules. A logger's level comes from the first of these sources that names the logger: a location that the
operator has forced on or off (see loglines/locations), the dynamic config (USERVER_LOG_DYNAMIC_DEBUG), an
operator's order, the static config or the author's code. A child without its own level follows its
parent, as always in ``logging``; a location includes all loggers below it, whatever their own levels.
``default`` is the root logger.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from mpchat.loglines.locations import BY_LEVEL, ON, is_below, set_state, state_of

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
MAX_NAME = 200
"""Characters of a logger's name that operators may use."""


def find_logger(name: str) -> logging.Logger:
    """Return the logger with this name in the config."""
    return logging.getLogger() if name == DEFAULT else logging.getLogger(name)


def name_of(level: int) -> str:
    """Return the name of the lowest level of LEVELS whose lines a logger of this level writes."""
    return next((name for name, number in LEVELS.items() if number >= level), "none")


def known_loggers() -> list[str]:
    """Return the names of all loggers of this process, sorted, behind ``default``."""
    found = logging.Logger.manager.loggerDict.items()
    return [DEFAULT, *sorted(name for name, item in found if isinstance(item, logging.Logger))]


class Levels:
    """The loggers of one process whose levels were changed, and their own levels."""

    def __init__(self) -> None:
        self._locations: dict[str, int] = {}
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
        self._apply([name, *self._excepted()])

    def locate(self, location: str, state: int) -> None:
        """Force the lines of a location on or off for the operator, or leave them to their levels."""
        set_state(self._locations, location, state)
        self._apply(self._inside(location))

    def order_all(self, levels: Mapping[str, str], locations: Mapping[str, int]) -> None:
        """Follow the orders that were given before this process started."""
        self._ordered |= {name: LEVELS[level] for name, level in levels.items()}
        self._locations |= locations
        self._apply([*levels, *self._inside_all()])

    def force(self, levels: Mapping[str, int]) -> None:
        """Follow the dynamic config: it sets the levels of these loggers, and of no others."""
        self._forced = dict(levels)
        self.apply()

    def apply(self) -> None:
        """Set all levels; call this again after code that may have set levels itself."""
        names = self._given.keys() | self._ordered.keys() | self._forced.keys()
        self._apply({*names, *self._inside_all()})

    def state(self, name: str) -> int:
        """Return what was set for the location of a logger."""
        return state_of(_path(name), self._locations)

    def current(self, name: str) -> int:
        """Return the level below which a logger's lines are left out now."""
        return next(filter(None, (logger.level for _name, logger in _upwards(name))), TRACE)

    def initial(self, name: str) -> int:
        """Return that level as it would be without operators and the dynamic config."""
        own = (self._own.get(key, logger.level) for key, logger in _upwards(name))
        return next(filter(None, own), TRACE)

    def _inside_all(self) -> Iterator[str]:
        for location in self._locations:
            yield from self._inside(location)

    def _excepted(self) -> Iterator[str]:
        """Return the locations that follow their levels within one that is forced."""
        return (name for name, state in self._locations.items() if state == BY_LEVEL)

    def _inside(self, location: str) -> Iterator[str]:
        """Return the location's logger, and those below it that do not follow it by themselves."""
        yield location or DEFAULT
        for name, logger in list(logging.Logger.manager.loggerDict.items()):
            if isinstance(logger, logging.Logger) and logger.level and is_below(name, location):
                yield name

    def _apply(self, names: Iterable[str]) -> None:
        for name in names:
            logger = find_logger(name)
            if logger.level != self._given.get(name):
                self._own[name] = logger.level
            wanted = self._wanted(name)
            if wanted is None:
                self._given.pop(name, None)
                wanted = self._own.pop(name)
            else:
                self._given[name] = wanted
            # Each call of setLevel clears the level caches of all loggers in the process.
            if logger.level != wanted:
                logger.setLevel(wanted)

    def _wanted(self, name: str) -> int | None:
        """Return the level that somebody wants a logger to have, None if it may have its own."""
        state = self.state(name)
        if state != BY_LEVEL:
            return TRACE if state == ON else logging.WARNING
        level = self._unforced(name)
        if level is None and _path(name) in self._locations:
            # The logger above it is forced, and must not be followed.
            wanted = (
                self._unforced(key) or self._own.get(key, logger.level)
                for key, logger in _upwards(name)
            )
            return next(filter(None, wanted), TRACE)
        return level

    def _unforced(self, name: str) -> int | None:
        return self._forced.get(name, self._ordered.get(name))


def _path(name: str) -> str:
    """Return the location of a logger."""
    return "" if name == DEFAULT else name


def _upwards(name: str) -> Iterator[tuple[str, logging.Logger]]:
    """Return the logger and those above it, as far as they exist, by their names in the config."""
    path = _path(name)
    while path:
        found = logging.Logger.manager.loggerDict.get(path)
        if isinstance(found, logging.Logger):
            yield path, found
        path = path.rpartition(".")[0]
    yield DEFAULT, logging.getLogger()


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
