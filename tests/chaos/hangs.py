"""The torture of workers that stand still: one in a blocking call, one that never leaves C."""

from __future__ import annotations

import time
from pathlib import Path

from mpchat.testsuite.service import wait_until
from tests.chaos import judge
from tests.chaos.box import Box
from tests.chaos.judge import Kill
from tests.chaos.torture import Outcome, Scale, Torture

_WORDS = {"sleep": "in _sleep", "spin": "in _spin"}
"""What has a handler stand still, and what its stack says then."""


def hangs(folder: Path, scale: Scale, without: str) -> Outcome:
    """Have handlers of two workers block the event loop."""
    numbers, failures = {}, []
    killed: dict[int, Kill] = {}
    options = {"worker-hang-timeout": f"{scale.hang:g}s"}
    with Box(folder, without=without, options=options) as box, box.crowd(scale.traffic) as records:
        box.wait_connected(scale.live // 2)
        for word, frame in _WORDS.items():
            begun = time.monotonic()
            worker = box.say(word)
            note = folder / f"stuck-{word}"
            wait_until(note.exists, "standstill")
            stopped = float(note.read_text())
            killed[worker] = Kill(stopped, stopped)
            try:
                box.wait_settled(4, worker, deadline=scale.hang + 3 * scale.patience)
            except TimeoutError:
                failures.append(f"the worker in {word} was not replaced")
                continue
            took = time.monotonic() - begun
            numbers[f"replaced ({word})"] = f"{took - scale.hang:+.2f} s"
            if took > scale.hang + scale.patience:
                failures.append(
                    f"the worker in {word} was replaced after {took:.2f} s, the hang time is "
                    f"{scale.hang:g} s"
                )
            # The stack is logged with the worker's end, before its successor is.
            if frame not in box.service.stderr():
                failures.append(f"the log does not say that the worker was {frame}")
    return Outcome(
        {
            "hang time": f"{scale.hang:g} s",
            **numbers,
            "connections": str(len(records)),
            "longest wait for a 101": judge.longest_wait(records),
        },
        failures
        + judge.only_killed_ended(records, killed)
        + judge.none_waited(records, killed, scale.patience),
    )


TORTURES = (
    Torture(
        "hangs",
        "a handler in time.sleep(60), and one that spins in C",
        "replaced within the hang time + 1 s, the stack in the log; no connect waits over 1 s",
        hangs,
        {
            "hang_detection": "a worker may stand still forever",
            "adoption": "nobody accepts for a worker that stands still",
        },
    ),
)
