"""The stages of a client's socket: what may follow what, and what waits for the client."""

from __future__ import annotations

import math

import pytest

from mpchat.scoreboard.counters import LIMITS
from mpchat.server.options import ServerOptions
from mpchat.server.stages import NEXT, TIMEOUTS, Stage

OPTIONS = ServerOptions.model_validate(
    {
        "listener": {"port": 0, "connection": {"keepalive_timeout": 30}},
        "handshake-timeout": "10s",
        "body-timeout": "20s",
    }
)
NOT_WAITING = {Stage.ACCEPTED, Stage.ANSWERING, Stage.GONE}


def test_each_stage_is_reached_and_leads_to_the_end() -> None:
    assert set(NEXT) == set(Stage)
    assert set[Stage]().union(*NEXT.values()) == set(Stage) - {Stage.ACCEPTED}
    for stage in Stage:
        assert stage is Stage.GONE or Stage.GONE in NEXT[stage]


def test_none_becomes_fresh_again_and_the_last_ones_answer_nothing() -> None:
    assert [stage for stage in Stage if Stage.FRESH in NEXT[stage]] == [Stage.ACCEPTED]
    assert all(later >= Stage.LINGERING for later in NEXT[Stage.LINGERING])
    assert not NEXT[Stage.GONE]


def test_a_request_that_has_begun_is_answered() -> None:
    for stage in (Stage.HEAD, Stage.BODY):
        assert not NEXT[stage] & {Stage.FRESH, Stage.IDLE}


def test_every_stage_that_waits_for_the_client_has_a_time() -> None:
    assert set(TIMEOUTS) == set(Stage) - NOT_WAITING
    found = {stage: timeout.limit for stage, timeout in TIMEOUTS.items() if timeout.limit}
    assert set(found.values()) < set(LIMITS)


@pytest.mark.parametrize(
    ("stage", "seconds"),
    [
        (Stage.FRESH, 10.0),
        (Stage.HEAD, 10.0),
        (Stage.BODY, 20.0),
        (Stage.BLOCKED, math.inf),
        (Stage.IDLE, 30.0),
        (Stage.LINGERING, 2.0),
    ],
)
def test_the_times_are_those_of_the_options(stage: Stage, seconds: float) -> None:
    assert TIMEOUTS[stage].seconds(OPTIONS) == seconds
