"""Tokens and rations, by a clock of the test."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.congestion.limiter import Ration, TokenBucket


class Seconds:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(bucket: TokenBucket, attempts: int = 1000) -> int:
    return sum(bucket.take() for _ in range(attempts))


def test_a_new_bucket_is_empty_and_gets_one_token_after_the_other() -> None:
    clock = Seconds()
    bucket = TokenBucket(10, clock)
    assert not bucket.take()
    clock.now += 0.125
    assert taken(bucket) == 1
    clock.now += 0.1
    assert taken(bucket) == 1


def test_it_keeps_what_comes_in_a_second() -> None:
    clock = Seconds()
    bucket = TokenBucket(10, clock)
    clock.now += 60
    assert taken(bucket) == 10
    assert taken(bucket) == 0


def test_another_rate_holds_from_now_on() -> None:
    clock = Seconds()
    bucket = TokenBucket(10, clock)
    clock.now += 0.5
    bucket.change(100)
    assert taken(bucket) == 5
    clock.now += 0.5
    bucket.change(4)
    assert taken(bucket) == 4


def test_a_limit_of_none_lets_nothing_pass() -> None:
    clock = Seconds()
    bucket = TokenBucket(0, clock)
    clock.now += 60
    assert taken(bucket) == 0


@given(st.integers(1, 5000), st.lists(st.floats(0, 2), max_size=50))
def test_never_more_pass_than_the_rate_and_one_bucket(rate: int, waits: list[float]) -> None:
    clock = Seconds()
    bucket = TokenBucket(rate, clock)
    passed = 0
    for wait in waits:
        clock.now += wait
        passed += taken(bucket, 50)
        assert passed <= (clock.now - 1000) * rate + 1e-3


def test_a_ration_lets_who_spends_more_wait() -> None:
    clock = Seconds()
    ration = Ration(100, 3, clock)
    assert [ration.spend() for _ in range(3)] == [0, 0, 0]
    assert ration.spend() == pytest.approx(0.01)
    assert ration.spend() == pytest.approx(0.02)
    clock.now += 0.02
    assert ration.spend() == pytest.approx(0.01)
    ration.change(1000, 3)
    assert ration.spend() == pytest.approx(0.002)
    clock.now += 60
    assert [ration.spend() for _ in range(3)] == [0, 0, 0]
    ration.change(1000, 5)
    clock.now += 60
    assert [ration.spend() > 0 for _ in range(6)] == [False] * 5 + [True]
