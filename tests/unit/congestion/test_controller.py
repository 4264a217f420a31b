"""The state machine, second by second; each step is one of userver's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.congestion.controller import Controller, Reading, State
from mpchat.dynamic_config.variables import RPS_CCONTROL, RpsCongestionControl

DEFAULT = RPS_CCONTROL.default
MIN = 10


def second(events: int, load: int = 400, looks: int = 100) -> Reading:
    return Reading(load, events, looks)


QUIET, PRESSED = second(0), second(50)


def policy(**changes: Any) -> RpsCongestionControl:
    return DEFAULT.model_copy(update=changes)


def fed(
    controller: Controller, *readings: Reading, by: RpsCongestionControl = DEFAULT
) -> int | None:
    for reading in readings:
        controller.feed(reading, by, MIN)
    return controller.limit


def state(controller: Controller) -> State:
    return controller.state


def limited(limit: int = 300) -> Controller:
    """Return one that is overloaded and has this limit."""
    controller = Controller()
    load = round(limit / DEFAULT.start_limit_factor)
    fed(controller, PRESSED, second(50, load))
    assert (controller.limit, controller.state) == (limit, State.OVERLOADED_UNDER_PRESSURE)
    return controller


def calm(limit: int = 300) -> Controller:
    """Return one that is not overloaded any more, and has this limit."""
    controller = limited(limit)
    fed(controller, *[QUIET] * (DEFAULT.overload_off_seconds + 1))
    assert (controller.limit, controller.state) == (limit, State.OVERLOADED_NO_PRESSURE)
    return controller


def test_without_signs_there_is_no_limit() -> None:
    controller = Controller()
    assert fed(controller, *[QUIET] * 10) is None
    assert state(controller) is State.NO_LIMIT


def test_the_limit_does_not_move_in_the_second_that_becomes_an_overload() -> None:
    controller = Controller()
    assert fed(controller, PRESSED) is None
    assert state(controller) is State.NOT_OVERLOADED_UNDER_PRESSURE
    assert fed(controller, second(50, 400)) == 300
    assert state(controller) is State.OVERLOADED_UNDER_PRESSURE


@pytest.mark.covers("RpsCongestionControl.up-level")
def test_up_level_is_what_is_noise_without_an_overload() -> None:
    controller = Controller()
    fed(controller, second(2), by=policy(up_level=2))
    assert state(controller) is State.NO_LIMIT
    fed(controller, second(3), by=policy(up_level=2))
    assert state(controller) is State.NOT_OVERLOADED_UNDER_PRESSURE


@pytest.mark.covers("RpsCongestionControl.down-level")
def test_down_level_is_what_is_noise_in_an_overload() -> None:
    controller = limited()
    assert fed(controller, second(4), by=policy(down_level=4)) == 300
    assert state(controller) is State.OVERLOADED_NO_PRESSURE
    assert fed(controller, second(5), by=policy(down_level=4)) == 294


@pytest.mark.covers("RpsCongestionControl.load-limit-percent")
def test_pressure_needs_a_share_of_signs() -> None:
    by = policy(load_limit_percent=40)
    controller = Controller()
    fed(controller, second(39), by=by)
    assert state(controller) is State.NO_LIMIT
    fed(controller, second(40), by=by)
    assert state(controller) is State.NOT_OVERLOADED_UNDER_PRESSURE


@pytest.mark.covers("RpsCongestionControl.overload-on-seconds")
def test_pressure_is_an_overload_after_seconds_or_at_once_if_it_is_critical() -> None:
    by = policy(load_limit_crit_percent=101, overload_on_seconds=2)
    controller = Controller()
    assert fed(controller, *[PRESSED] * 3, by=by) is None
    assert fed(controller, PRESSED, by=by) == 300
    controller = Controller()
    # A quiet second in between begins the count anew.
    assert fed(controller, *[PRESSED] * 2, QUIET, *[PRESSED] * 3, by=by) is None


@pytest.mark.covers("RpsCongestionControl.load-limit-crit-percent")
def test_a_critical_share_of_signs_is_an_overload_at_once() -> None:
    by = policy(load_limit_crit_percent=60)
    controller = Controller()
    assert fed(controller, second(59), second(60), by=by) is None
    assert fed(controller, second(3), by=by) == 300


@pytest.mark.covers("RpsCongestionControl.start-limit-factor")
def test_the_first_limit_is_a_part_of_the_load() -> None:
    by = policy(start_limit_factor=0.5)
    # Halves go up, as in C.
    assert fed(Controller(), PRESSED, second(50, 401), by=by) == 201


@pytest.mark.covers("RpsCongestionControl.down-rate-percent")
def test_it_falls_by_a_rate_and_by_one_at_least() -> None:
    controller = limited(300)
    assert fed(controller, PRESSED, by=policy(down_rate_percent=10.0)) == 270
    assert fed(limited(12), PRESSED) == 11
    assert fed(limited(10), PRESSED) == MIN


def test_it_holds_while_an_overload_has_no_pressure() -> None:
    controller = limited()
    assert fed(controller, *[QUIET] * 3, PRESSED) == 294
    assert fed(controller, *[QUIET] * 3) == 294
    assert state(controller) is State.OVERLOADED_NO_PRESSURE


@pytest.mark.covers("RpsCongestionControl.overload-off-seconds")
def test_an_overload_ends_after_quiet_seconds() -> None:
    by = policy(overload_off_seconds=1)
    controller = limited()
    fed(controller, QUIET, QUIET, by=by)
    assert state(controller) is State.OVERLOADED_NO_PRESSURE
    fed(controller, QUIET, by=by)
    assert state(controller) is State.NOT_OVERLOADED_NO_PRESSURE


@pytest.mark.covers("RpsCongestionControl.up-rate-percent")
def test_it_rises_by_a_rate_but_after_pressure_in_steps_that_double() -> None:
    controller = calm(3000)
    # The step has doubled in each of the quiet seconds: 2, 4, 8, 16, now 32.
    assert fed(controller, QUIET, by=policy(up_rate_percent=10.0)) == 3032
    assert fed(controller, QUIET, by=policy(up_rate_percent=1.0)) == 3032 + 30
    # Pressure that is no overload brings it back to 1.
    by = policy(load_limit_crit_percent=101)
    assert fed(controller, PRESSED, by=by) == 3062
    assert state(controller) is State.NOT_OVERLOADED_UNDER_PRESSURE
    assert fed(controller, QUIET, by=by) == 3064
    # A small one rises by one at least.
    assert fed(calm(12), QUIET) == 13


@pytest.mark.covers("RpsCongestionControl.no-limit-seconds")
def test_it_is_dropped_after_a_long_calm() -> None:
    by = policy(no_limit_seconds=6)
    controller = calm()  # after four quiet seconds
    assert fed(controller, *[QUIET] * 2, by=by) is not None
    assert fed(controller, QUIET, by=by) is None
    fed(controller, QUIET, by=by)
    assert state(controller) is State.NO_LIMIT


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10_000)), max_size=60),
    st.integers(1, 200),
)
def test_whatever_comes_a_limit_is_never_below_the_smallest_and_moves_by_its_rates(
    seconds: list[tuple[int, int]], smallest: int
) -> None:
    controller = Controller()
    for events, load in seconds:
        before = controller.limit
        controller.feed(Reading(load, events, 100), DEFAULT, smallest)
        limit = controller.limit
        if limit is None:
            assert before is None
            continue
        assert limit >= smallest
        if before is None:
            assert limit == max(smallest, int(load * 0.75 + 0.5))
        elif controller.state in {State.NO_LIMIT, State.NOT_OVERLOADED_NO_PRESSURE}:
            assert before < limit <= max(before + 1, before * 1.02 + 0.5)
        elif controller.state is State.OVERLOADED_UNDER_PRESSURE:
            assert before * 0.98 - 1 <= limit <= max(smallest, before - 1)
        else:
            assert limit == before
