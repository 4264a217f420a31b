"""Times and counts by which the supervisor decides, in one place, with reasons.

docs/operations.md is printed from here, and tests pass smaller ones in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mpchat.scoreboard.heartbeat import BEAT_SECONDS, SILENT_SECONDS


def _number(default: float, unit: str, reason: str) -> Any:
    return field(default=default, metadata={"unit": unit, "reason": reason})


@dataclass(frozen=True)
class Timing:
    """Every time and count of the supervisor; times are seconds."""

    first_backoff: float = _number(
        0.1, "s", "The first restart is at once; the second waits this long, then twice that"
    )
    max_backoff: float = _number(10, "s", "A broken slot costs one fork in ten seconds")
    jitter: float = _number(0.2, "±", "Slots that failed together do not come back together")
    calm: float = _number(
        1, "s", "A worker that outlived this and its last backoff has its failures forgiven"
    )
    rescue_interval: float = _number(
        0.5, "s", "With no ready worker at all, one slot (or the template) restarts this often"
    )
    start_failures: int = _number(
        3, "times", "A slot that failed this often no longer holds READY back"
    )
    start_limit: float = _number(
        30, "s", "A worker, broker or console not ready by then is killed: a failed start"
    )
    broker_limit: float = _number(
        40,
        "s",
        "In a restart: the old broker's end and the new one's start, which reads the history",
    )
    template_limit: float = _number(
        120, "s", "Loading code and config; imports of a large service on a cold disk fit in it"
    )
    answer_limit: float = _number(
        5, "s", "A template that has neither forked nor answered by then is killed and replaced"
    )
    ping_interval: float = _number(
        5, "s", "A template with nothing to do is asked this often whether it still answers"
    )
    reload_limit: float = _number(30, "s", "A template that does not answer a reload is replaced")
    apply_limit: float = _number(
        5, "s", "Workers that have not confirmed a generation by then are named"
    )
    stop_grace: float = _number(2, "s", "Beyond the drain's deadline, before SIGKILL")
    now_limit: float = _number(1, "s", "A stop in a hurry, before SIGKILL")
    unreachable_limit: float = _number(
        5, "s", "A child that has closed its channel and not ended by then is killed"
    )
    orphan_limit: float = _number(
        1.5, "s", "After the supervisor's death the monitor kills what is left"
    )
    heartbeat: float = _number(
        BEAT_SECONDS,
        "s",
        "The event loop of a worker, broker or console advances its counter this often",
    )
    help: float = _number(
        SILENT_SECONDS,
        "s",
        "A slot whose worker's loop has not beaten for so long is helped by a sibling",
    )
    abort_limit: float = _number(
        0.5,
        "s",
        "A stuck worker, broker or console has this long to write its stack, before SIGKILL",
    )
    last_words_limit: float = _number(
        60, "s", "The same last words of another worker are logged again after this long"
    )
    recovery: float = _number(
        5,
        "s",
        "Beyond worker-hang-timeout: a worker still there keeps the watchdog from being fed",
    )
