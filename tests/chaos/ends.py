"""The torture of ends: whatever the service is at, its end is in order and nothing is left behind."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos import judge
from tests.chaos.box import Box
from tests.chaos.torture import Outcome, Scale, Torture

_MOMENT = 0.15
"""Seconds after which a restart or a drain has begun and is not over."""


def _supervisor_killed(box: Box) -> list[str]:
    box.service.process.kill()
    box.service.process.wait()
    return []


def _stop_during_restart(box: Box) -> list[str]:
    box.service.send_signal(signal.SIGUSR2)
    time.sleep(_MOMENT)
    return _stop(box)


def _restart_during_stop(box: Box) -> list[str]:
    box.service.send_signal(signal.SIGTERM)
    time.sleep(_MOMENT)
    box.service.send_signal(signal.SIGUSR2)
    return _stop(box)


def _two_restarts(box: Box) -> list[str]:
    old = box.workers()
    box.service.send_signal(signal.SIGUSR2)
    time.sleep(_MOMENT)
    box.service.send_signal(signal.SIGUSR2)
    box.wait_settled(2, *old)
    return _stop(box)


def _stop(box: Box) -> list[str]:
    code = box.service.stop()
    return [f"the service ended with exit code {code}"] if code else []


_ENDS: dict[str, Callable[[Box], list[str]]] = {
    "SIGKILL of the supervisor": _supervisor_killed,
    "TERM during a restart": _stop_during_restart,
    "restart during a drain": _restart_during_stop,
    "second restart during the first, then TERM": _two_restarts,
}


def ends(folder: Path, scale: Scale, without: str) -> Outcome:
    """End the service in the middle of something."""
    outcome = Outcome()
    crowd = {"rate": scale.opening, "most": scale.live, "lifetime": 0, "back": 1}
    for number, (name, end) in enumerate(_ENDS.items()):
        if outcome.failures:
            break
        place = folder / str(number)
        place.mkdir()
        with Box(place, workers=2, without=without) as box:
            with box.crowd(crowd) as records:
                box.wait_connected(scale.live)
                failures = end(box)
                left = box.leftovers()
            first = [record for record in records if record.number < scale.live]
            failures += judge.all_said_goodbye(first) + left
        outcome.numbers[name] = "nothing left" if not failures else "missed"
        outcome.failures += [f"{name}: {failure}" for failure in failures]
    return outcome


TORTURES = (
    Torture(
        "ends",
        ", ".join(_ENDS),
        "every client sees 1001 or 1012; exit code 0 after a TERM; no process, socket or file is left",
        ends,
        {"farewell": "workers and monitor ignore the supervisor's death"},
        short=("farewell",),
    ),
)
