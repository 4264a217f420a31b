"""Tortures of workers: killed, one after another."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.chaos import judge
from tests.chaos.box import Box, kill, sleep_until
from tests.chaos.judge import Kill
from tests.chaos.torture import Outcome, Scale, Torture

_STANDSTILL = 0.3
"""Seconds for which every other victim stands still before its end, so that clients queue."""


def kills(folder: Path, scale: Scale, without: str) -> Outcome:
    """SIGKILL a random worker every second."""
    killed: dict[int, Kill] = {}
    with Box(folder, without=without) as box:
        with box.watched(), box.crowd(scale.traffic) as records:
            begun = time.monotonic() + scale.live / scale.rate
            for turn in range(scale.times):
                sleep_until(begun + turn - _STANDSTILL)
                victim = random.choice(sorted(box.workers()))
                if turn % 2:
                    kill(victim, signal.SIGSTOP)
                stopped = time.monotonic()
                sleep_until(begun + turn)
                killed[victim] = Kill(stopped if turn % 2 else time.monotonic(), time.monotonic())
                kill(victim, signal.SIGKILL)
            time.sleep(_STANDSTILL)
        box.wait_settled(4)
        samples = box.samples
    lost = judge.count(records, lambda r: bool(r.trouble))
    return Outcome(
        {
            "workers killed": str(len(killed)),
            "connections": str(len(records)),
            "of killed workers": str(lost),
            "longest wait for a 101": judge.milliseconds(max(r.wait for r in records)),
        },
        judge.only_killed_ended(records, killed)
        + judge.none_waited(records)
        + judge.never_falls(samples),
    )


TORTURES = (
    Torture(
        "kills",
        "SIGKILL of a random worker every second, every other one at a standstill before",
        "only that worker's own established connections end, no connect waits over 1 s; totals never "
        "fall",
        kills,
        {
            "kept_sockets": "listening sockets belong to workers",
            "continued_totals": "a new worker counts from zero",
        },
        short=("continued_totals",),
    ),
)
