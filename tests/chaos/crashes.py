"""Tortures of workers: killed, one after another."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.chaos import judge
from tests.chaos.box import Box, end, kill, sleep_until
from tests.chaos.judge import Kill
from tests.chaos.torture import Outcome, Scale, Torture

_BROKEN = 1
"""The slot that crashes."""
_STANDSTILL = 0.3
"""Seconds for which every other victim stands still before its end, so that clients queue."""


def kills(folder: Path, scale: Scale, without: str) -> Outcome:
    """SIGKILL a random worker every second."""
    killed: dict[int, Kill] = {}
    with Box(folder, without=without) as box:
        with box.watched(), box.crowd(scale.traffic) as records:
            box.wait_connected(scale.live // 2)
            begun = time.monotonic() + _STANDSTILL
            for turn in range(scale.times):
                sleep_until(begun + turn - _STANDSTILL)
                victim = random.choice(sorted(box.workers()))
                if turn % 2:
                    kill(victim, signal.SIGSTOP)
                stopped = time.monotonic() if turn % 2 else 0.0
                sleep_until(begun + turn)
                killed[victim] = end(victim, stopped)
            time.sleep(_STANDSTILL)
        box.wait_settled(4, *killed)
        samples = box.samples
    lost = judge.count(records, lambda r: bool(r.trouble))
    return Outcome(
        {
            "workers killed": str(len(killed)),
            "connections": str(len(records)),
            "of killed workers": str(lost),
            "longest wait for a 101": judge.longest_wait(records),
        },
        judge.only_killed_ended(records, killed)
        + judge.none_waited(records, killed, scale.patience)
        + judge.never_falls(samples),
    )


def crash_loop(folder: Path, scale: Scale, without: str) -> Outcome:
    """Have one slot crash whenever it starts."""
    killed: dict[int, Kill] = {}
    with Box(folder, without=without) as box, box.crowd(scale.traffic) as records:
        box.wait_connected(scale.live // 2)
        others = box.workers()
        victim = next(pid for pid, slot in others.items() if slot == _BROKEN)
        (folder / f"crash-{_BROKEN}").touch()
        killed[victim] = end(victim)
        begun = killed[victim].killed
        sleep_until(begun + scale.seconds)
        restarts = box.board.slot(_BROKEN, "restarts")
        most = _most_restarts(time.monotonic() - begun)
        left = box.workers()
    failures = judge.only_killed_ended(records, killed) + judge.none_waited(
        records, killed, scale.patience
    )
    if restarts > most:
        failures.append(f"{restarts} restarts within {scale.seconds:g} s, {most} at the most")
    del others[victim]
    if left != others:
        failures.append(f"the other workers were {others} and are {left}")
    return Outcome(
        {
            "restarts": f"{restarts} in {scale.seconds:g} s",
            "connections": str(len(records)),
            "longest wait for a 101": judge.longest_wait(records),
        },
        failures,
    )


def _most_restarts(seconds: float) -> int:
    """Return how many the numbers in docs/operations.md allow: at once, then 0.1 s doubling to 10 s."""
    wait, count = 0.1, 1
    while seconds >= 0:
        # Less 20 % at the most.
        seconds -= 0.8 * wait
        wait = min(2 * wait, 10)
        count += 1
    return count


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
    Torture(
        "crash-loop",
        "a slot whose workers crash at once, forever",
        "respawns bounded; no connect waits over 1 s; other slots unharmed",
        crash_loop,
        {
            "adoption": "nobody accepts for a slot without a worker",
            "backoff": "a worker that crashed is started again at once",
        },
        short=("backoff",),
    ),
)
