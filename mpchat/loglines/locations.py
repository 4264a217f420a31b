"""Locations: loggers whose lines an operator has forced on or off, each with all loggers below it. Pure.

Rules. A table has the states that were set, by the logger's name; an empty name stands for all loggers.
What is set later applies to everything below it, whatever was set there before (as in userver, where a
location is a file or the beginning of its path).
"""

from __future__ import annotations

from collections.abc import Mapping

ON, OFF, BY_LEVEL = 1, -1, 0
"""The states: lines of every level are written, only warnings and errors are, or the level decides."""
STATES = (ON, OFF, BY_LEVEL)


def set_state(table: dict[str, int], location: str, state: int) -> None:
    """Give a location and all below it this state."""
    for name in [name for name in table if is_below(name, location)]:
        del table[name]
    if state_of(location, table) != state:
        table[location] = state


def state_of(logger: str, table: Mapping[str, int]) -> int:
    """Return the state of a logger: that of the nearest location."""
    name = logger
    while name and name not in table:
        name = name.rpartition(".")[0]
    return table.get(name, BY_LEVEL)


def is_below(logger: str, location: str) -> bool:
    """Return whether a logger belongs to a location."""
    return not location or logger == location or logger.startswith(f"{location}.")
