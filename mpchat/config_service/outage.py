"""What the log says of updates that fail: each fault once, then how often, and when it is over."""

from __future__ import annotations

import logging

_FIRST_COUNT = 10
"""Failed updates in a row before they are counted in the log; then twice as many each time"""
_DIFFERENT = 20
"""Faults of one outage that are said; a server could make up a new text for each answer"""


class Outage:
    """The present outage: updates that have failed since the last one that succeeded."""

    def __init__(self, log: logging.Logger, source: str) -> None:
        self._log = log
        self._source = source
        self._failed = 0
        self._count_at = _FIRST_COUNT
        self._said: set[str] = set()

    def failed(self, text: str) -> None:
        """Say that an update has failed, unless the log has this fault already."""
        self._failed += 1
        if text not in self._said and len(self._said) < _DIFFERENT:
            self._said.add(text)
            self._log.warning("no update from the config service %s: %s", self._source, text)
        elif self._failed >= self._count_at:
            self._log.warning(
                "no update from the config service %s %d times in a row, the last time: %s",
                self._source,
                self._failed,
                text,
            )
        else:
            return
        while self._count_at <= self._failed:
            self._count_at *= 2

    def over(self) -> None:
        """Say that updates succeed again."""
        if self._failed:
            self._log.info(
                "the config service %s can be followed again; updates that had failed: %d",
                self._source,
                self._failed,
            )
        self._failed = 0
        self._count_at = _FIRST_COUNT
        self._said.clear()
