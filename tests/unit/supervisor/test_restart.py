"""A restart's table is complete, its requests wait in order; the rest is tested with the real command."""

from __future__ import annotations

import itertools

from mpchat.supervisor.requests import Requests
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


def test_requests_wait_in_order_and_the_whole_service_stands_for_all() -> None:
    told: list[tuple[str, str]] = []
    requests = Requests()
    assert requests.take() is None

    def ask(slot: int | None, name: str) -> None:
        requests.add(slot, [lambda reason: told.append((name, reason))])

    def take() -> tuple[int | None, int]:
        request = requests.take()
        assert request is not None
        return request.slot, len(request.askers)

    ask(2, "a")
    ask(0, "b")
    ask(2, "c")
    assert (take(), take()) == ((2, 2), (0, 1))
    ask(1, "d")
    ask(None, "e")
    ask(3, "f")
    ask(None, "g")
    assert take() == (None, 4)
    ask(None, "h")
    ask(1, "i")
    requests.refuse("no")
    assert told == [("h", "no"), ("i", "no")]
    assert requests.take() is None
