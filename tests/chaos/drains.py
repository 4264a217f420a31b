"""The torture of a crowd that is sent away: all workers end at once."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.chaos import judge
from tests.chaos.box import Box, kill
from tests.chaos.torture import Outcome, Scale, Torture


def drain(folder: Path, scale: Scale, without: str) -> Outcome:
    """Drain all clients at once; they come back as soon as they are told to go."""
    window = int(scale.window * 1000)
    dynamic = {"MPCHAT_DRAIN": {"window_ms": window, "deadline_ms": 2 * window}}
    crowd = {"rate": scale.opening, "most": scale.crowd, "lifetime": 0, "burst": 1, "pause": 4}
    workers = max(2, scale.crowd // 2500)
    with Box(folder, workers=workers, without=without, dynamic=dynamic) as box:
        with box.crowd(crowd) as records:
            box.wait_connected(scale.crowd)
            begun = time.monotonic()
            victims = box.workers()
            for victim in victims:
                kill(victim, signal.SIGTERM)
            box.wait_settled(workers, *victims)
            box.wait_connected(scale.crowd)
        ledger = box.ledger
    back = [record.began for record in records if record.began > begun]
    mean, most = judge.rush(back, begun, scale.window, scale.bins)
    sent_away = [record for record in records if record.began < begun]
    failures = (
        judge.none_turned_away(records, scale.patience)
        + judge.all_said_goodbye(sent_away, {1012})
        + judge.all_said_goodbye(records)
        + judge.all_answered(records, ledger)
    )
    if most > 1.5 * mean:
        failures.append(
            f"clients came back in a rush: {most:g} at p99 of {scale.bins} parts of the window, "
            f"{mean:g} on average"
        )
    took = max(back) - begun
    return Outcome(
        {
            "clients": str(scale.crowd),
            "drained over": f"{took:.1f} s",
            "reconnects at p99 / mean": f"{most / mean:.2f}",
            "longest wait for a 101": judge.longest_wait(records),
        },
        failures,
    )


TORTURES = (
    Torture(
        "drain",
        "all clients drained at once, by workers that all end together",
        "reconnects per second at p99 at most 1.5 times their mean; every client saw 1012, "
        "none waited over 1 s",
        drain,
        {
            "spread": "a drain closes all connections at once",
            "close_handshake": "a drain cuts connections off",
        },
        short=("spread",),
    ),
)
