"""How many requests a second are taken, second by second: userver's state machine.

Rules. Each second brings a reading; ``State`` says what was found in it. A limit begins at a part of the
load at that time, falls while the pressure lasts, rises when it is gone, faster with each quiet second,
and is dropped after a long calm. It is never below the smallest one. The names of states and the steps
are userver's (``congestion_control::Controller``), so that its settings mean the same here.
"""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

from mpchat.dynamic_config.variables import RpsCongestionControl

_MAX_STEP = 10_000
"""Requests per second from which the step of a rising limit does not double any more."""


class State(enum.IntEnum):
    """What a second was, by userver's numbers."""

    NO_LIMIT = 0
    NOT_OVERLOADED_NO_PRESSURE = 1
    """A limit is left from an overload, and rises"""
    NOT_OVERLOADED_UNDER_PRESSURE = 2
    """It may become an overload"""
    OVERLOADED_NO_PRESSURE = 3
    """The limit holds"""
    OVERLOADED_UNDER_PRESSURE = 4
    """The limit is set, or falls"""


class Reading(NamedTuple):
    """What a sensor has seen in a second."""

    load: int
    """Requests that were taken"""
    events: int
    """Signs of overload"""
    looks: int
    """How many there could have been"""


class Controller:
    """The limit of one worker.

    Attributes:
        limit: Requests per second; None: any number.
        state: What the last second was.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self.state = State.NO_LIMIT
        self._is_overloaded = False
        self._pressed_seconds = 0
        self._quiet_seconds = 0
        self._step = 1

    def feed(self, reading: Reading, policy: RpsCongestionControl, min_limit: int) -> None:
        """Take in a second; ``min_limit`` is the smallest limit of this worker."""
        is_pressed = self._is_pressed(reading, policy)
        if is_pressed:
            self._pressed_seconds += 1
            self._quiet_seconds = 0
            self._step = 1
        else:
            self._pressed_seconds = 0
            self._quiet_seconds += 1
            if self._step < _MAX_STEP:
                self._step *= 2
        if self._is_overloaded:
            self._feed_overloaded(reading, policy, min_limit, is_pressed=is_pressed)
        elif is_pressed:
            self.state = State.NOT_OVERLOADED_UNDER_PRESSURE
            self._is_overloaded = self._pressed_seconds > policy.overload_on_seconds or _reaches(
                reading, policy.load_limit_crit_percent
            )
        elif self.limit is None:
            self.state = State.NO_LIMIT
        else:
            self.state = State.NOT_OVERLOADED_NO_PRESSURE
            self.limit = self._raised(self.limit, policy)
        if not self._is_overloaded and self._quiet_seconds > policy.no_limit_seconds:
            self.limit = None

    def _feed_overloaded(
        self, reading: Reading, policy: RpsCongestionControl, min_limit: int, *, is_pressed: bool
    ) -> None:
        if is_pressed:
            self.state = State.OVERLOADED_UNDER_PRESSURE
            lower = (
                _rounded(reading.load * policy.start_limit_factor)
                if self.limit is None
                else _lowered(self.limit, policy)
            )
            self.limit = max(min_limit, lower)
        else:
            self.state = State.OVERLOADED_NO_PRESSURE
            self._is_overloaded = self._quiet_seconds <= policy.overload_off_seconds

    def _is_pressed(self, reading: Reading, policy: RpsCongestionControl) -> bool:
        # Two levels, so that it does not flap.
        level = policy.down_level if self._is_overloaded else policy.up_level
        return reading.events > level and _reaches(reading, policy.load_limit_percent)

    def _raised(self, limit: int, policy: RpsCongestionControl) -> int:
        most = _rounded(limit * (100 + policy.up_rate_percent) / 100)
        return max(limit + 1, min(most, limit + self._step))


def _reaches(reading: Reading, percent: int) -> bool:
    return reading.events * 100 >= reading.looks * percent


def _lowered(limit: int, policy: RpsCongestionControl) -> int:
    return min(math.floor(limit * (100 - policy.down_rate_percent) / 100), limit - 1)


def _rounded(number: float) -> int:
    """Return the nearest integer, as C's lround: halves go up."""
    return math.floor(number + 0.5)
