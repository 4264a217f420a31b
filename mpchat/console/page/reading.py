"""One moment of the service, as the history and the page have it.

Rules. Cheap enough to be read each second while nobody looks: memory is not read here, since the system
adds it up page by page.
"""

from __future__ import annotations

from collections.abc import Mapping

from mpchat.console.page.history import Number, Part, Reading
from mpchat.scoreboard.counters import LIMITS
from mpchat.scoreboard.heartbeat import SILENT_SECONDS
from mpchat.scoreboard.scoreboard import ROWS, Scoreboard
from mpchat.scoreboard.status import Status

_OF_SERVICE = ("messages_received", "messages_sent", "bytes_received", "bytes_sent", "handshakes")
_OF_SLOT = ("messages_received", "messages_sent")


def take_reading(
    board: Scoreboard, status: Status, memory: Mapping[int, int], now: float
) -> Reading:
    """Read the scoreboard.

    ``status`` has just sampled the CPU time of each worker; ``memory`` has the bytes of those processes
    whose memory is known; ``now`` is of the system's monotonic clock.
    """
    count = board.service("slots")
    names = ("pid", "beat_at", "lag_us", "connections", *_OF_SLOT)
    columns = {name: board.column(name, count) for name in names}
    slots = []
    for slot in range(count):
        # The rows of a slot's workers stand side by side.
        rows = range(slot * ROWS, (slot + 1) * ROWS)
        pids = [columns["pid"][row] for row in rows if columns["pid"][row]]
        lags = [_lag(columns["lag_us"][row], columns["beat_at"][row], now) for row in rows]
        gauges: dict[str, Number] = {
            "connections": sum(columns["connections"][row] for row in rows),
            "loop_lag_ms": max(lags),
            "cpu_percent": _sum_of([status.cpu_percent(pid) for pid in pids]),
            "pss_bytes": _sum_of([memory.get(pid) for pid in pids]),
        }
        counters = {name: sum(columns[name][row] for row in rows) for name in _OF_SLOT}
        slots.append(Part(counters, gauges))
    return Reading(
        now,
        Part(
            {name: board.total(name, count) for name in _OF_SERVICE},
            {
                "connections": sum(columns["connections"]),
                "cpu_percent": _sum_of([slot.gauges["cpu_percent"] for slot in slots]),
            },
        ),
        slots,
        {name: board.total(name, count) for name in LIMITS},
    )


def _lag(lag_us: int, beat_at: int, now: float) -> float:
    """Return a worker's lag in milliseconds; of one that stands still, for how long it does."""
    silent = now - beat_at / 1000 if beat_at else 0.0
    return round(silent * 1000) if silent > SILENT_SECONDS else lag_us / 1000


def _sum_of(values: list[Number]) -> Number:
    """Return the sum of what is known, None if nothing is."""
    known = [value for value in values if value is not None]
    return round(sum(known), 1) if known else None
