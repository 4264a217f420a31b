"""The torture of balance: slots have the same number of connections, whatever becomes of workers."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from mpchat.scoreboard.scoreboard import ROWS
from mpchat.testsuite.service import wait_until
from tests.chaos import judge
from tests.chaos.box import Box, end, kill
from tests.chaos.judge import Kill
from tests.chaos.torture import Outcome, Scale, Torture

_MAX_RATIO = 1.1
_WORKERS = 4
_RUSH = "after two more at once"
"""A number that is told and not judged: who could not be passed on stays where it was accepted."""
_STANDSTILL = 0.3
"""Seconds for which a worker stands still while others pass clients on to it, before it is killed."""


def balance(folder: Path, scale: Scale, without: str) -> Outcome:
    """Kill a worker when all are connected, and its successor when clients are passed on to it."""
    killed: dict[int, Kill] = {}
    ratios = {}
    crowd = {
        "rate": scale.opening,
        "most": scale.crowd,
        "lifetime": 0,
        "burst": 1,
        "pause": 4,
        "back": max(1.5, scale.crowd / _WORKERS / scale.opening),
    }

    def successor() -> int | None:
        found = set(box.workers()) - set(before)
        return found.pop() if found else None

    with Box(folder, workers=_WORKERS, without=without) as box:
        with box.crowd(crowd) as records:
            box.wait_connected(scale.crowd)
            ratios["as they connect"] = _ratio(box)
            first = min(box.workers())
            killed[first] = end(first)
            box.wait_settled(_WORKERS, first)
            box.wait_connected(scale.crowd)
            ratios["after a crash"] = _ratio(box)
            before = box.workers()
            second = min(before)
            killed[second] = end(second)
            chosen = wait_until(successor, "successor")
            assert chosen is not None
            kill(chosen, signal.SIGSTOP)
            stopped = time.monotonic()
            time.sleep(_STANDSTILL)
            killed[chosen] = end(chosen, stopped)
            box.wait_settled(_WORKERS, *killed)
            box.wait_connected(scale.crowd)
            ratios[_RUSH] = _ratio(box)
        passed_on, accepted = box.total("passed_on"), box.total("accepted")
    failures = judge.only_killed_ended(records, killed) + judge.none_waited(
        records, killed, scale.patience
    )
    failures += [
        f"{when} the fullest slot had {ratio:.2f} times the mean"
        for when, ratio in ratios.items()
        if ratio > _MAX_RATIO and when != _RUSH
    ]
    return Outcome(
        {
            "clients": str(scale.crowd),
            **{f"fullest slot / mean {when}": f"{ratio:.3f}" for when, ratio in ratios.items()},
            "passed on": f"{passed_on} of {accepted}",
            "longest wait for a 101": judge.longest_wait(records),
        },
        failures,
    )


def _ratio(box: Box) -> float:
    rows = box.board.column("connections", _WORKERS)
    slots = [sum(rows[first : first + ROWS]) for first in range(0, len(rows), ROWS)]
    return max(slots) * _WORKERS / sum(slots)


TORTURES = (
    Torture(
        "balance",
        "clients come back after crashes; a worker killed while it stands still and others pass on to it",
        "the fullest of four slots has at most 1.1 times the mean; only killed workers' own sockets end",
        balance,
        {
            "passing_on": "a worker keeps what it accepts",
            "kept_inboxes": "sockets passed on to a worker end with it",
        },
        short=("passing_on",),
    ),
)
