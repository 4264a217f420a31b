"""What operators have ordered about loggers: told to every process, and to those that are forked later.

Rules. The number of loggers is limited, since a new process is given all of them. Templates are told
nothing: workers would inherit their levels as their own.
"""

from __future__ import annotations

from mpchat.ipc import messages
from mpchat.ipc.channel import MalformedMessage
from mpchat.loglines.locations import BY_LEVEL, ON, STATES, set_state, state_of
from mpchat.supervisor.child import Role
from mpchat.supervisor.family import Family
from mpchat.supervisor.log import LOGGER, Log

MAX_LOGGERS = 1000
"""Loggers with another level by order, and loggers that are forced on or off"""
_DEFAULT_LOGGER = "default"
"""The logger whose level our own lines follow"""
_ALL, _WARNING = 0, 30
"""Levels, as numbers of ``logging``"""


class LogOrders:
    """The orders that count.

    Attributes:
        levels: Names of levels, by logger.
        locations: States of loggers that are forced on or off (see loglines/locations).
    """

    def __init__(self, log: Log, family: Family) -> None:
        self.levels: dict[str, str] = {}
        self.locations: dict[str, int] = {}
        self._log = log
        self._family = family

    def set_level(self, order: messages.LogLevel) -> str:
        """Change a logger's level in every process; return why that is refused, or nothing."""
        logger, level = order.logger, order.level
        if level is not None and logger not in self.levels and len(self.levels) >= MAX_LOGGERS:
            return (
                f"{MAX_LOGGERS} loggers have another level by order already: give one its own again"
            )
        self.levels.pop(logger, None)
        if level is not None:
            self.levels[logger] = level
        if logger == _DEFAULT_LOGGER:
            self._log.order(order.number)
        self._tell(order)
        self._log.info(f"the level of {logger} is {level or 'its own again'}, by order")
        return ""

    def set_state(self, order: messages.DebugLog) -> str:
        """Force a logger on or off in every process; return why that is refused, or nothing.

        Raises:
            MalformedMessage: There is no such state.
        """
        location, state = order.location, order.state
        if state not in STATES:
            raise MalformedMessage(f"the state of {location} is {state}")
        wanted = dict(self.locations)
        set_state(wanted, location, state)
        if len(wanted) > MAX_LOGGERS:
            return (
                f"{MAX_LOGGERS} loggers are forced on or off already: leave one to its level again"
            )
        self.locations.clear()
        self.locations.update(wanted)
        own = state_of(LOGGER, wanted)
        self._log.force(None if own == BY_LEVEL else _ALL if own == ON else _WARNING)
        self._tell(order)
        how = (
            "left to its level" if state == BY_LEVEL else f"forced {'on' if state == ON else 'off'}"
        )
        self._log.info(f"{location or 'every logger'} is {how}, with all below it, by order")
        return ""

    def _tell(self, order: messages.LogLevel | messages.DebugLog) -> None:
        for child in self._family:
            if child.role not in {Role.TEMPLATE, Role.NEXT_TEMPLATE}:
                child.send(order)
