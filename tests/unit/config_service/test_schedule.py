"""When updates are due, and of which kind."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.config_service.schedule import Schedule, retry_wait
from tests.unit.config_service.test_options import updater


def middle(least: float, most: float) -> float:
    return (least + most) / 2


def latest(_least: float, most: float) -> float:
    return most


def test_the_first_update_is_full_until_one_succeeds() -> None:
    for options in (updater(), updater(update_types="only-incremental")):
        schedule = Schedule(options, middle)
        assert schedule.kind(0) == "full"
        assert schedule.kind(100) == "full"


@pytest.mark.covers("UpdaterOptions.update-types")
def test_what_follows_the_first_is_of_the_kind_that_is_asked_for() -> None:
    only = Schedule(updater(update_types="only-incremental"), middle)
    only.succeeded("full", 0)
    assert only.kind(10**9) == "incremental"
    full = Schedule(updater(update_types="only-full"), middle)
    full.succeeded("full", 0)
    assert full.kind(0) == "full"


@pytest.mark.covers("UpdaterOptions.full-update-interval")
def test_a_full_update_is_due_again_until_it_succeeds() -> None:
    schedule = Schedule(updater(full_update_interval="1m"), middle)
    schedule.succeeded("full", 5)
    schedule.succeeded("incremental", 10)
    assert schedule.kind(64.9) == "incremental"
    assert schedule.kind(65) == "full"
    assert schedule.kind(70) == "full"
    schedule.succeeded("full", 70)
    assert schedule.kind(71) == "incremental"


@pytest.mark.covers("UpdaterOptions.full-update-jitter")
def test_full_updates_have_a_jitter_of_their_own() -> None:
    schedule = Schedule(updater(full_update_interval="1m", full_update_jitter="2s"), latest)
    schedule.succeeded("full", 0)
    assert schedule.kind(61.9) == "incremental"
    assert schedule.kind(62) == "full"


@pytest.mark.covers("UpdaterOptions.exception-interval")
def test_a_failure_has_an_interval_of_its_own_that_never_grows() -> None:
    options = updater(update_interval="5s", exception_interval="1s")
    schedule = Schedule(options, middle)
    assert [schedule.wait(failed=True) for _ in range(3)] == [1, 1, 1]
    assert schedule.wait(failed=False) == 5
    assert Schedule(updater(), middle).wait(failed=True) == 5


@pytest.mark.covers("UpdaterOptions.update-jitter")
@given(
    interval=st.integers(1, 10_000),
    jitter=st.integers(0, 20_000),
    failed=st.booleans(),
    seed=st.integers(),
)
def test_waits_are_within_the_jitter(interval: int, jitter: int, failed: bool, seed: int) -> None:
    options = updater(update_interval=f"{interval}ms", update_jitter=f"{jitter}ms")
    found = Schedule(options, random.Random(seed).uniform).wait(failed=failed) * 1000
    assert max(0, interval - jitter) <= round(found, 6) <= interval + min(jitter, interval)


@given(attempt=st.integers(1, 100), seed=st.integers())
def test_retries_wait_for_a_random_multiple_of_25_ms(attempt: int, seed: int) -> None:
    milliseconds = round(1000 * retry_wait(attempt, random.Random(seed).randrange), 6)
    assert milliseconds % 25 == 0
    assert 1 <= milliseconds / 25 <= 2 ** min(attempt - 1, 5)


def test_the_first_retry_waits_25_ms() -> None:
    assert retry_wait(1, random.Random(1).randrange) == 0.025
    assert retry_wait(6, lambda below: below - 1) == retry_wait(9, lambda below: below - 1) == 0.8
