"""Levels of named loggers, raised or lowered while the service runs (USERVER_LOG_DYNAMIC_DEBUG).

Rules. In userver the names are source files, here they are loggers; a child without a level of its own
follows its parent, as always in ``logging``. A name that is given no longer gets its former level back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from mpchat.logs.formats import TRACE
from mpchat.logs.setup import LEVELS


class DynamicLevels:
    """The loggers that were changed, and what their levels were."""

    def __init__(self) -> None:
        self._former: dict[str, int] = {}

    def apply(self, levels: Mapping[str, int]) -> None:
        """Give these loggers their levels, and all others their own."""
        for name in [name for name in self._former if name not in levels]:
            logging.getLogger(name).setLevel(self._former.pop(name))
        for name, level in levels.items():
            logger = logging.getLogger(name)
            self._former.setdefault(name, logger.level)
            logger.setLevel(level)


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
