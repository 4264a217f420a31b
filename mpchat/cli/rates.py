"""Rates per second, from one status of a service to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

EVENTS = ("handshakes", "closed", "requests", "refused")
TRAFFIC = ("messages_received", "messages_sent", "bytes_received", "bytes_sent")


class Rates:
    """Remembers the last status, so that the next one has rates since then."""

    def __init__(self) -> None:
        self._before: dict[str, Any] | None = None
        self._at = 0.0

    def take(self, answer: dict[str, Any], at: float) -> dict[str, Any]:
        """Return the status of the second ``at`` with rates in the place of counters."""
        rated = with_rates(answer, self._before, at - self._at)
        self._before, self._at = answer, at
        return rated

    def forget(self) -> None:
        """Have no rates next time: the service has not answered, and may be another one."""
        self._before = None


def with_rates(
    answer: dict[str, Any], before: dict[str, Any] | None, seconds: float
) -> dict[str, Any]:
    """Return a status with rates per second in the place of counters.

    ``before`` is the status ``seconds`` ago; a rate is None without it, and after a new start.
    """
    if before is None or before["pid"] != answer["pid"]:
        before = {"workers": [], "totals": {}}
    earlier = {worker["name"]: worker for worker in before["workers"]}
    workers = [
        worker | _rates(worker, earlier.get(worker["name"], {}), TRAFFIC, seconds)
        for worker in answer["workers"]
    ]
    totals = _rates(answer["totals"], before["totals"], (*EVENTS, *TRAFFIC), seconds)
    return answer | {"workers": workers, "totals": answer["totals"] | totals}


def _rates(
    now: dict[str, Any], before: dict[str, Any], names: Sequence[str], seconds: float
) -> dict[str, float | None]:
    return {
        name: (now[name] - before[name]) / seconds if name in before and seconds > 0 else None
        for name in names
    }
