"""Who decides about a logger's level: locations, the dynamic config, the operator, config and code."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from mpchat.loglines.locations import BY_LEVEL, OFF, ON
from mpchat.logs.levels import (
    LEVELS,
    TRACE,
    Levels,
    find_logger,
    forced_levels,
    known_loggers,
    name_of,
)

NAME = "tests.levels"


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    found, root = logging.getLogger(NAME), logging.getLogger()
    before = root.level
    found.setLevel(logging.INFO)
    yield found
    found.setLevel(logging.NOTSET)
    root.setLevel(before)


def test_what_no_longer_names_a_logger_gives_way_to_the_next(logger: logging.Logger) -> None:
    levels = Levels()
    levels.order(NAME, "error")
    assert logger.level == logging.ERROR
    levels.force({NAME: logging.DEBUG})
    assert logger.level == logging.DEBUG
    levels.order(NAME, "critical")
    assert logger.level == logging.DEBUG
    levels.force({})
    assert logger.level == logging.CRITICAL
    levels.order(NAME, None)
    assert logger.level == logging.INFO
    levels.order(NAME, None)
    assert logger.level == logging.INFO


def test_code_that_sets_a_level_is_heard_when_nothing_else_names_it(logger: logging.Logger) -> None:
    levels = Levels()
    levels.force({NAME: logging.DEBUG})
    # A handler's constructor does that, for its option log-level.
    logger.setLevel(logging.ERROR)
    levels.apply()
    assert logger.level == logging.DEBUG
    levels.force({})
    assert logger.level == logging.ERROR


def test_default_is_the_root_logger_and_children_follow(logger: logging.Logger) -> None:
    levels = Levels()
    before = logging.getLogger().level
    levels.order("default", "none")
    assert find_logger("default") is logging.getLogger()
    assert not logging.getLogger(f"{NAME}_else.child").isEnabledFor(logging.CRITICAL)
    assert logging.getLogger(f"{NAME}.child").isEnabledFor(logging.INFO)
    levels.order("default", None)
    assert logging.getLogger().level == before


def test_an_order_touches_its_logger_only(monkeypatch: pytest.MonkeyPatch) -> None:
    touched: list[str] = []

    def set_level(logger: logging.Logger, level: int) -> None:
        touched.append(logger.name)
        logger.level = level

    monkeypatch.setattr(logging.Logger, "setLevel", set_level)
    names = [f"{NAME}.many.{number}" for number in range(100)]
    levels, later = Levels(), Levels()
    for name in names:
        levels.order(name, "debug")
    assert touched == names
    levels.order(names[7], "error")
    levels.order(names[7], "error")
    levels.order(f"{NAME}.unknown", None)
    assert touched[100:] == [names[7]]
    levels.apply()
    later.order_all(dict.fromkeys(names, "critical"), {})
    assert touched[101:] == names
    assert f"{NAME}.unknown" not in logging.Logger.manager.loggerDict


@pytest.fixture
def below() -> Iterator[logging.Logger]:
    """A logger below that of the tests, with a level of its own."""
    found = logging.getLogger(f"{NAME}.below")
    found.setLevel(logging.CRITICAL)
    yield found
    found.setLevel(logging.NOTSET)


def test_a_location_counts_more_than_anything_else(
    logger: logging.Logger, below: logging.Logger
) -> None:
    levels = Levels()
    levels.order(NAME, "error")
    levels.force({below.name: logging.ERROR})
    levels.locate(NAME, ON)
    assert (logger.level, below.level) == (TRACE, TRACE)
    levels.order(below.name, "info")
    levels.force({})
    assert (logger.level, below.level) == (TRACE, TRACE)
    levels.locate(NAME, OFF)
    assert (logger.level, below.level) == (logging.WARNING, logging.WARNING)
    assert [levels.state(name) for name in (NAME, below.name, "tests")] == [OFF, OFF, BY_LEVEL]
    levels.locate(NAME, BY_LEVEL)
    assert (logger.level, below.level) == (logging.ERROR, logging.INFO)
    levels.order(below.name, None)
    assert below.level == logging.CRITICAL


def test_a_location_may_be_excepted_from_one_above(
    logger: logging.Logger, below: logging.Logger
) -> None:
    levels = Levels()
    below.setLevel(logging.NOTSET)
    levels.locate(NAME, ON)
    levels.locate(below.name, BY_LEVEL)
    # As if the one above were not forced.
    assert below.level == logging.INFO
    levels.order(NAME, "error")
    assert (logger.level, below.level) == (TRACE, logging.ERROR)
    levels.locate(NAME, BY_LEVEL)
    assert (logger.level, below.level) == (logging.ERROR, logging.NOTSET)
    levels.order(NAME, None)


def test_a_later_process_and_later_code_follow_locations(below: logging.Logger) -> None:
    levels = Levels()
    levels.order_all({below.name: "info"}, {NAME: ON})
    assert below.level == TRACE
    constructed = logging.getLogger(f"{NAME}.constructed")
    constructed.setLevel(logging.ERROR)
    levels.apply()
    assert constructed.level == TRACE
    levels.locate("", BY_LEVEL)
    assert (below.level, constructed.level) == (logging.INFO, logging.ERROR)
    constructed.setLevel(logging.NOTSET)
    levels.order(below.name, None)


def test_all_loggers_may_be_forced(logger: logging.Logger, below: logging.Logger) -> None:
    levels, before = Levels(), logging.getLogger().level
    levels.locate("", OFF)
    assert logging.getLogger("tests.elsewhere").getEffectiveLevel() == logging.WARNING
    assert (logger.level, below.level) == (logging.WARNING, logging.WARNING)
    assert levels.state("default") == OFF
    levels.locate("", BY_LEVEL)
    assert (logger.level, below.level) == (logging.INFO, logging.CRITICAL)
    assert logging.getLogger().level == before


def test_levels_are_told_as_they_are_and_as_they_were(logger: logging.Logger) -> None:
    levels = Levels()
    levels.order(NAME, "error")
    unmade = f"{NAME}.never.made"
    assert (levels.initial(unmade), levels.current(unmade)) == (logging.INFO, logging.ERROR)
    assert unmade not in logging.Logger.manager.loggerDict
    assert levels.initial("default") == levels.current("default") == logging.getLogger().level
    levels.order(NAME, None)
    assert levels.current(unmade) == logging.INFO
    assert NAME in known_loggers()
    assert known_loggers()[0] == "default"


def test_a_level_between_two_has_the_name_of_the_next_one() -> None:
    assert [name_of(number) for number in LEVELS.values()] == [*LEVELS]
    assert (name_of(1), name_of(logging.INFO + 1), name_of(99)) == ("trace", "warning", "none")


def test_an_unknown_level_changes_nothing(logger: logging.Logger) -> None:
    with pytest.raises(KeyError):
        Levels().order(NAME, "loud")
    assert logger.level == logging.INFO


def test_the_more_verbose_wish_wins() -> None:
    assert forced_levels(["a"], ["a", "b", "c"], {"b": "INFO"}, {"c": "error", "d": "none"}) == {
        "a": TRACE,
        "b": logging.INFO,
        "c": logging.ERROR + 1,
        "d": logging.CRITICAL + 11,
    }
