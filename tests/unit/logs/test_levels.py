"""Who decides about a logger's level: the dynamic config, then the operator, then config and code."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from mpchat.logs.levels import TRACE, Levels, find_logger, forced_levels

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
    later.order_all(dict.fromkeys(names, "critical"))
    assert touched[101:] == names
    assert f"{NAME}.unknown" not in logging.Logger.manager.loggerDict


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
