"""A restart's table is complete; what it does to a service is tested with the real command."""

from __future__ import annotations

import itertools

from mpchat.supervisor.restart import TABLE, Phase, Step

# The second template lives while it loads and while slots move, the second monitor in its own phase;
# slots are only looked at while some of them are to be renewed; only two phases have a time limit.
POSSIBLE_IN = {
    Step.LOADED: {Phase.LOADING},
    Step.FAILED: {Phase.LOADING, Phase.MOVING},
    Step.OVERDUE: {Phase.LOADING, Phase.MONITOR},
    Step.SETTLED: {Phase.MOVING, Phase.REVERTING, Phase.SLOT},
    Step.MONITOR_READY: {Phase.MONITOR},
    Step.MONITOR_FAILED: {Phase.MONITOR},
    Step.NOT_RENEWED: set(Phase),
    Step.STOP: set(Phase),
}


def test_every_pair_is_decided_or_impossible() -> None:
    possible = {
        (phase, step)
        for phase, step in itertools.product(Phase, Step)
        if phase in POSSIBLE_IN[step]
    }
    assert set(TABLE) == possible
