"""The torture of everyday operation: restarts, scaling and reloads, one on top of the other."""

from __future__ import annotations

import contextlib
import random
import signal
from pathlib import Path

from mpchat.ipc.control import ask
from mpchat.testsuite.service import wait_until
from tests.chaos import judge
from tests.chaos.box import Box
from tests.chaos.torture import Outcome, Scale, Torture

_STORM = 20
"""Signals of a storm of reloads."""
_MIN_WORKERS, _MAX_WORKERS = 3, 5


def restarts(folder: Path, scale: Scale, without: str) -> Outcome:
    """Restart by signal and by verb, at various sizes of the pool."""
    dynamic = {"MPCHAT_DRAIN": {"window_ms": 500, "deadline_ms": 5000}}
    workers, descriptors = 4, 0
    with Box(folder, workers=workers, without=without, dynamic=dynamic) as box:
        with box.watched(), box.crowd(scale.traffic) as records:
            box.wait_connected(scale.live // 2)
            for turn in range(scale.restarts):
                for _ in range(_STORM):
                    box.service.send_signal(signal.SIGHUP)
                workers = _scale(box, workers, random.randint(_MIN_WORKERS, _MAX_WORKERS))
                old = box.workers()
                if turn % 2:
                    ask(str(box.control), {"verb": "restart", "slot": None})
                else:
                    box.service.send_signal(signal.SIGUSR2)
                box.wait_settled(workers, *old)
                if turn == 0:
                    # Slots keep their sockets when they are scaled away, so all are there from now on.
                    workers = _scale(box, workers, _MAX_WORKERS)
                    box.wait_settled(_MAX_WORKERS)
                    descriptors = box.descriptors()
            _scale(box, workers, _MAX_WORKERS)
            box.wait_settled(_MAX_WORKERS)
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: box.descriptors() <= descriptors, "end of the restart", 5)
            left = box.descriptors() - descriptors
        ledger, samples = box.ledger, box.samples
        generation = box.board.service("generation")
    failures = (
        judge.none_turned_away(records, scale.patience)
        + judge.all_said_goodbye(records)
        + judge.all_answered(records, ledger)
        + judge.never_falls(samples)
    )
    if left > 0:
        failures.append(f"the supervisor has {left} descriptors more than before")
    return Outcome(
        {
            "restarts": str(scale.restarts),
            "reloads": str(generation - 1),
            "connections": str(len(records)),
            "told 1012": str(judge.count(records, lambda r: r.code == 1012)),
            "messages": str(sum(r.answered for r in records)),
            "longest wait for a 101": judge.longest_wait(records),
        },
        failures,
    )


def _scale(box: Box, now: int, wanted: int) -> int:
    """Ask for so many workers by signals, one at a time."""
    for _ in range(abs(wanted - now)):
        box.service.send_signal(signal.SIGTTIN if wanted > now else signal.SIGTTOU)
        now += 1 if wanted > now else -1
        box.wait_wanted(now)
    return now


TORTURES = (
    Torture(
        "restarts",
        "rolling restarts by USR2 and `mpchat restart`; TTIN and TTOU at random; storms of HUP between",
        "none refused, reset or waiting over 1 s; every end a 1012 or 1001, none 1006; every message "
        "that was read is answered, in order, before the Close; totals never fall; no descriptor leaks",
        restarts,
        {
            "answers": "a drain closes without waiting for the handler",
            "close_handshake": "a drain cuts connections off",
            "kept_sockets": "listening sockets belong to workers",
        },
        short=("answers",),
    ),
)
