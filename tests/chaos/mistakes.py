"""The torture of restarts that cannot succeed: nothing changes, and whoever asked is told why."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mpchat.ipc.control import ControlError, ask
from tests.chaos import judge
from tests.chaos.box import Box, kill
from tests.chaos.torture import Outcome, Scale, Torture


def _break_import(box: Box) -> str:
    box.app.write_text("import nothing_of_that_name\n")
    return "nothing_of_that_name"


def _break_code(box: Box) -> str:
    box.app.write_text("def components(:\n")
    return "SyntaxError"


def _break_config(box: Box) -> str:
    text = box.config.read_text()
    box.config.write_text(
        text.replace("path: /chat", "path: /chat\n      max-remote-payload: much")
    )
    return "expected an integer, got 'much'"


def _break_start(box: Box) -> str:
    (box.folder / "crash-2").touch()
    return "exit status 3"


_MISTAKES: dict[str, Callable[[Box], str]] = {
    "a module that does not exist": _break_import,
    "a syntax error": _break_code,
    "a wrong option": _break_config,
    "a worker that does not start": _break_start,
}


def mistakes(folder: Path, scale: Scale, without: str) -> Outcome:
    """Restart with mistakes, and kill templates at any moment."""
    failures: list[str] = []
    numbers: dict[str, str] = {}
    dynamic = {"MPCHAT_DRAIN": {"window_ms": 500, "deadline_ms": 5000}}
    with Box(folder, without=without, dynamic=dynamic) as box:
        app, config = box.app.read_text(), box.config.read_text()
        with box.watched(), box.crowd(scale.traffic) as records:
            box.wait_connected(scale.live // 2)
            for name, make in _MISTAKES.items():
                if failures:
                    break
                before = box.workers()
                expected = make(box)
                told = _restart(box)
                if expected not in told:
                    failures.append(f"{name}: told was {told!r}, not {expected!r}")
                box.app.write_text(app)
                box.config.write_text(config)
                (box.folder / "crash-2").unlink(missing_ok=True)
                box.wait_settled(4)
                # Slots that had moved before slot 2 failed have moved back.
                if make is not _break_start and box.workers() != before:
                    failures.append(f"{name}: workers were {before} and are {box.workers()}")
            failed = 0
            for _ in range(scale.times):
                failed += _kill_template(box)
                box.wait_settled(4)
            before = box.workers()
            if told := _restart(box):
                failures.append(f"a restart without mistakes failed: {told}")
            box.wait_settled(4, *before)
        ledger, samples = box.ledger, box.samples
    numbers["templates killed"] = str(scale.times)
    numbers["restarts that failed of it"] = str(failed)
    numbers["connections"] = str(len(records))
    numbers["longest wait for a 101"] = judge.longest_wait(records)
    return Outcome(
        numbers,
        failures
        + judge.none_turned_away(records, scale.patience)
        + judge.all_said_goodbye(records)
        + judge.all_answered(records, ledger)
        + judge.never_falls(samples),
    )


def _restart(box: Box) -> str:
    """Ask for a restart and return why it failed, nothing if it did not."""
    try:
        ask(str(box.control), {"verb": "restart", "slot": None})
    except ControlError as error:
        return str(error)
    return ""


def _kill_template(box: Box) -> bool:
    """Kill the old or the new template some time after a restart has begun; return whether it failed."""
    told: list[str] = []
    restart = threading.Thread(target=lambda: told.append(_restart(box)))
    restart.start()
    time.sleep(random.uniform(0.0, 0.5))
    others = ("mpchat: worker", "mpchat: monitor")
    children = box.service.children()
    templates = [pid for pid, title in children.items() if not title.startswith(others)]
    if templates:
        kill(random.choice(templates), signal.SIGKILL)
    restart.join()
    return bool(told[0])


TORTURES = (
    Torture(
        "mistakes",
        "restarts with " + ", ".join(_MISTAKES) + "; templates killed at any moment of a restart",
        "the reason is reported and nothing changes: no client is refused, reset or waits over 1 s, none "
        "sees an end other than 1012 or 1001",
        mistakes,
        {"new_before_old": "a restart ends the old workers first"},
        short=("new_before_old",),
    ),
)
