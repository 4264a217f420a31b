"""Tortures of the end: whatever comes first, nothing is left behind."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from tests.chaos import judge
from tests.chaos.box import Box, kill
from tests.chaos.torture import Outcome, Scale, Torture


def _supervisor_killed(box: Box) -> list[str]:
    box.service.process.kill()
    box.service.process.wait()
    return []


def _stop_during_restart(box: Box) -> list[str]:
    for worker in box.workers():
        kill(worker, signal.SIGTERM)
    return _stop(box)


def _stop(box: Box) -> list[str]:
    code = box.service.stop()
    return [f"the service ended with exit code {code}"] if code else []


_ENDS: dict[str, Callable[[Box], list[str]]] = {
    "SIGKILL of the supervisor": _supervisor_killed,
    "TERM while workers are replaced": _stop_during_restart,
}


def ends(folder: Path, scale: Scale, without: str) -> Outcome:
    """End the service in the middle of something."""
    outcome = Outcome()
    for number, (name, end) in enumerate(_ENDS.items()):
        place = folder / str(number)
        place.mkdir()
        crowd = {"rate": scale.rate, "most": scale.live, "lifetime": 0}
        with Box(place, without=without) as box:
            with box.crowd(crowd) as records:
                box.wait_connected(scale.live)
                failures = end(box)
                left = box.leftovers()
            first = [record for record in records if record.number < scale.live]
            failures += judge.all_said_goodbye(first) + left
        outcome.numbers[name] = "; ".join(failures) or "nothing left"
        outcome.failures += [f"{name}: {failure}" for failure in failures]
    return outcome


TORTURES = (
    Torture(
        "ends",
        ", ".join(_ENDS),
        "every client sees 1001 or 1012; no process, socket or file is left",
        ends,
        {"farewell": "workers and monitor do not care for the supervisor's death"},
        short=("farewell",),
    ),
)
