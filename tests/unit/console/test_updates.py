"""The metrics of updates from the config service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mpchat.config_service.numbers import Numbers
from mpchat.console.updates import CACHE, DEFINITIONS, update_families
from mpchat.scoreboard.scoreboard import Scoreboard
from tests.unit.console.rig import values_of


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    found = Scoreboard.create()
    yield found
    found.close()


def values(board: Scoreboard, now: float) -> dict[str, object]:
    found = values_of([*update_families(board, now)])
    assert not found or {*found} == {one.name for one in DEFINITIONS}
    return {name.removeprefix("cache."): labels[CACHE,] for name, labels in found.items() if labels}


def test_there_are_none_without_a_config_service(board: Scoreboard) -> None:
    assert values(board, 10) == {}


def test_what_was_counted_is_shown(board: Scoreboard) -> None:
    numbers = Numbers(board)
    numbers.begun("full", 100)
    assert "full.time.time-from-last-successful-start-ms" not in values(board, 101)
    numbers.read("full", 3)
    numbers.succeeded("full", 100, 100.25, changed=True, held=3)
    # The next console continues.
    numbers = Numbers(board)
    numbers.begun("incremental", 110)
    numbers.succeeded("incremental", 110, 110.5, changed=False, held=3)
    numbers.begun("incremental", 120)
    numbers.read("incremental", 2)
    numbers.refused("incremental")
    numbers.failed("incremental", 120, 121)
    assert values(board, 130) == {
        "full.update.attempts_count": 1,
        "full.update.no_changes_count": 0,
        "full.update.failures_count": 0,
        "full.documents.read_count": 3,
        "full.documents.parse_failures": 0,
        "full.time.time-from-last-update-start-ms": 30_000,
        "full.time.time-from-last-successful-start-ms": 30_000,
        "full.time.last-update-duration-ms": 250,
        "incremental.update.attempts_count": 2,
        "incremental.update.no_changes_count": 1,
        "incremental.update.failures_count": 1,
        "incremental.documents.read_count": 2,
        "incremental.documents.parse_failures": 1,
        "incremental.time.time-from-last-update-start-ms": 10_000,
        "incremental.time.time-from-last-successful-start-ms": 20_000,
        "incremental.time.last-update-duration-ms": 1000,
        "any.update.attempts_count": 3,
        "any.update.no_changes_count": 1,
        "any.update.failures_count": 1,
        "any.documents.read_count": 5,
        "any.documents.parse_failures": 1,
        "any.time.time-from-last-update-start-ms": 10_000,
        "any.time.time-from-last-successful-start-ms": 20_000,
        "any.time.last-update-duration-ms": 1000,
        "current-documents-count": 3,
    }
