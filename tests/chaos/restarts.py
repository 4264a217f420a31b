"""Tortures of everyday operation: restarts, scaling and reloads, one on top of the other."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.chaos import judge
from tests.chaos.box import Box, kill
from tests.chaos.torture import Outcome, Scale, Torture

_STORM = 20
"""Signals of a storm of reloads."""


def restarts(folder: Path, scale: Scale, without: str) -> Outcome:
    """Ask one worker after another to end, with storms of reloads between."""
    dynamic = {"MPCHAT_DRAIN": {"window_ms": 1000, "deadline_ms": 5000}}
    with Box(folder, without=without, dynamic=dynamic) as box:
        with box.watched(), box.crowd(scale.traffic) as records:
            time.sleep(scale.live / scale.rate)
            for _ in range(scale.times):
                victim = random.choice(sorted(box.workers()))
                kill(victim, signal.SIGTERM)
                for _ in range(_STORM):
                    box.service.send_signal(signal.SIGHUP)
                box.wait_settled(4, victim)
        ledger = box.ledger
        generation = box.status()["generation"]
        samples = box.samples
    told = judge.count(records, lambda r: r.code == 1012)
    return Outcome(
        {
            "restarts": str(scale.times),
            "reloads": str(generation - 1),
            "connections": str(len(records)),
            "told 1012": str(told),
            "messages": str(sum(r.answered for r in records)),
            "longest wait for a 101": judge.longest_wait(records),
        },
        judge.none_turned_away(records)
        + judge.all_said_goodbye(records)
        + judge.all_answered(records, ledger)
        + judge.never_falls(samples),
    )


TORTURES = (
    Torture(
        "restarts",
        "workers asked to end one after another, storms of HUP between",
        "none refused, reset or waiting over 1 s; every end a 1012 or 1001, none 1006; every message "
        "that was read is answered, in order, before the Close; totals never fall",
        restarts,
        {
            "answers": "a drain closes without waiting for the handler",
            "close_handshake": "a drain cuts connections off",
        },
        short=("answers",),
    ),
)
