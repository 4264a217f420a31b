"""The answer to the verb status, from the scoreboard and /proc.

Rules. Status asks no process, so it also works when all workers are stuck. Counters are those of the
slot, over all its workers, and never fall; gauges are those of the worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from mpchat.linux.accounting import cpu_seconds, pss_bytes
from mpchat.scoreboard.broker import BROKER_STATES, ENGINES
from mpchat.scoreboard.counters import GAUGES, LIMITS, TOTALS
from mpchat.scoreboard.scoreboard import ROWS, WORKER_STATES, Scoreboard
from mpchat.scoreboard.service import ACTIVITIES, CONSOLE_STATES, UPDATES

SAMPLE_SECONDS = 1.0
"""Seconds between two readings of each process's CPU time, for its share."""
Memory: TypeAlias = Callable[[int], int | None]
"""Returns the bytes of a process, None if they are not known."""


@dataclass
class _Sample:
    at: float
    cpu: float
    percent: float = 0.0


@dataclass(frozen=True)
class ConsolePlace:
    """Where operators find the console: its address, or why there is none although it is configured."""

    address: str = ""
    missing: str = ""


@dataclass
class _Rate:
    """Messages of the rooms at a reading, and per second since the one before."""

    at: float
    messages: int
    per_second: float = 0.0


class Status:
    """Reads the state of the service; shares of CPU need regular calls of ``sample``.

    Attributes:
        certificates: Those in force, as the supervisor tells; see tls/shown.
    """

    def __init__(
        self,
        version: str,
        scoreboard: Scoreboard,
        address: str,
        pool: str,
        supervisor: int,
        hang_timeout: float,
        console: ConsolePlace,
    ) -> None:
        self._version = version
        self._board = scoreboard
        self._address = address
        self._pool = pool
        self._supervisor = supervisor
        self._hang_timeout = hang_timeout
        self._place = console
        self._samples: dict[int, _Sample] = {}
        self._rate: _Rate | None = None
        self.certificates: list[dict[str, Any]] = []

    def collect(self, memory: Memory | None = None) -> dict[str, Any]:
        """Return the whole status; docs/control-socket.md describes its fields.

        By default ``memory`` asks the system, which takes milliseconds for each process.
        """
        memory = memory or pss_bytes
        board = self._board
        slots = board.service("slots")
        now = time.monotonic()
        return {
            "version": self._version,
            "pid": self._supervisor,
            "address": self._address,
            "uptime_seconds": _since(board.service("started"), now),
            "silent_seconds": _since(board.service("beat_at"), now),
            "generation": board.service("generation"),
            "activity": ACTIVITIES[board.service("activity")],
            "faults": board.service("faults"),
            "hang_timeout_seconds": self._hang_timeout,
            "broker": self._broker(now, memory),
            "console": self._console(now, memory),
            "config_service": self._config_service(now),
            "certificates": [
                {**one, "seconds_left": one["not_after"] - int(time.time())}
                for one in self.certificates
            ],
            "workers": [w for slot in range(slots) for w in self._workers(slot, now, memory)],
            "totals": {name: board.total(name, slots) for name in (*TOTALS, *GAUGES)},
            "limits": {name: board.total(name, slots) for name in LIMITS},
        }

    def listeners(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return where the service listens, with who accepts clients from each slot's socket.

        ``found`` is what Listeners.describe returns.
        """
        slots = [self._listener(slot, queue) for slot, queue in enumerate(found["queues"])]
        return {name: value for name, value in found.items() if name != "queues"} | {"slots": slots}

    def _listener(self, slot: int, queue: list[int] | None) -> dict[str, Any]:
        board = self._board
        helper = board.slot(slot, "helper")
        waiting, limit = queue or (None, None)
        return {
            "slot": slot,
            "waiting": waiting,
            "limit": limit,
            "accepted_by": [
                {"name": self._name(one), "pid": board.read(one, row, "pid")}
                for one in (slot, *([helper - 1] if helper else []))
                for row in range(ROWS)
                if board.read(one, row, "accepting")
            ],
        }

    def ready_pids(self) -> set[int]:
        """Return the processes that serve clients."""
        return self._board.ready_pids()

    def pids(self) -> list[int]:
        """Return the processes of workers, broker and console."""
        board = self._board
        workers = (
            board.slot(slot, f"pid_{row}")
            for slot in range(board.service("slots"))
            for row in range(ROWS)
        )
        return [pid for pid in (*workers, board.broker("pid"), board.service("console_pid")) if pid]

    def cpu_percent(self, pid: int) -> float | None:
        """Return a process's share of a core at the last sample, None if it was not there before."""
        sample = self._samples.get(pid)
        return round(sample.percent, 1) if sample is not None else None

    def sample(self) -> None:
        """Record the CPU time of every process, and how many messages the rooms have had."""
        now = time.monotonic()
        self._sample_rooms(now)
        before, self._samples = self._samples, {}
        for pid in self.pids():
            cpu = cpu_seconds(pid)
            if cpu is None:
                continue
            sample = self._samples[pid] = _Sample(now, cpu)
            last = before.get(pid)
            if last is not None and now > last.at:
                sample.percent = 100 * max(0.0, cpu - last.cpu) / (now - last.at)

    def _sample_rooms(self, now: float) -> None:
        rate = _Rate(now, self._board.broker("messages"))
        last, self._rate = self._rate, rate
        if last is not None and now > last.at:
            rate.per_second = (rate.messages - last.messages) / (now - last.at)

    def _broker(self, now: float, memory: Memory) -> dict[str, Any] | None:
        """Return what the broker and the supervisor say of it, None for a service without rooms."""
        read = self._board.broker
        state, pid = BROKER_STATES[read("state")], read("pid")
        if state == "none":
            return None
        return {
            "state": state,
            "pid": pid or None,
            "age_seconds": _since(read("since"), now),
            "restarts": read("restarts"),
            "silent_seconds": _since(read("beat_at"), now),
            "rooms": read("rooms"),
            "members": read("members"),
            "messages": read("messages"),
            "messages_per_second": round(self._rate.per_second, 1) if self._rate else None,
            "history_bytes_used": read("history_used"),
            "history_bytes": read("history_size"),
            "workers_behind": read("behind"),
            "repeated": read("repeated"),
            "refused": read("refused"),
            "delivered": read("delivered"),
            "workers_lost": read("lost"),
            "engine": ENGINES[read("engine")],
            "stream_lost_seconds": _since(read("stream_lost_at"), now),
            "cpu_seconds": cpu_seconds(pid) if pid else None,
            "cpu_percent": self.cpu_percent(pid),
            "pss_bytes": memory(pid) if pid else None,
        }

    def _console(self, now: float, memory: Memory) -> dict[str, Any] | None:
        """Return how the console is, None for a service without a section for it."""
        read, place = self._board.service, self._place
        state, pid = CONSOLE_STATES[read("console_state")], read("console_pid")
        if state == "none" and not place.missing:
            return None
        return {
            "state": "missing" if place.missing else state,
            "address": place.address or None,
            "missing": place.missing or None,
            "pid": pid or None,
            "restarts": read("console_restarts"),
            "silent_seconds": _since(read("console_beat_at"), now) if pid else None,
            "cpu_seconds": cpu_seconds(pid) if pid else None,
            "cpu_percent": self.cpu_percent(pid),
            "pss_bytes": memory(pid) if pid else None,
        }

    def _config_service(self, now: float) -> dict[str, Any] | None:
        """Return how the config service is followed, None if it has never been asked."""
        read = self._board.service
        if not any(read(f"{kind}_attempts") for kind in UPDATES):
            return None
        succeeded = max(read(f"{kind}_succeeded_at") for kind in UPDATES)
        return {
            "failing": bool(read("update_failed")),
            "succeeded_seconds": _since(succeeded, now),
            "variables": read("documents"),
        }

    def _workers(self, slot: int, now: float, memory: Memory) -> list[dict[str, Any]]:
        board = self._board
        totals = {name: sum(board.read(slot, row, name) for row in range(ROWS)) for name in TOTALS}
        found = []
        for row in range(ROWS):
            state = WORKER_STATES[board.slot(slot, f"state_{row}")]
            if state != "none":
                found.append(self._worker(slot, row, state, now, memory) | totals)
        # A slot without a worker is shown, too: one waits for its restart, or was scaled away.
        state = "down" if board.slot(slot, "wanted") else "away"
        return found or [
            {"name": self._name(slot), "slot": slot, "state": state}
            | totals
            | {"restarts": board.slot(slot, "restarts"), "helper": self._helper(slot)}
        ]

    def _worker(
        self, slot: int, row: int, state: str, now: float, memory: Memory
    ) -> dict[str, Any]:
        board = self._board
        pid = board.slot(slot, f"pid_{row}")
        beat_at = board.read(slot, row, "beat_at")
        return {
            "name": self._name(slot),
            "slot": slot,
            "state": state,
            "pid": pid,
            "age_seconds": _since(board.slot(slot, f"since_{row}"), now),
            "restarts": board.slot(slot, "restarts"),
            "helper": self._helper(slot),
            "generation": board.read(slot, row, "generation"),
            "compiled": bool(board.read(slot, row, "compiled")),
            "congestion_limit": board.read(slot, row, "congestion_limit") or None,
            "loop_lag_ms": board.read(slot, row, "lag_us") / 1000,
            "silent_seconds": _since(beat_at, now),
            "cpu_seconds": cpu_seconds(pid),
            "cpu_percent": self.cpu_percent(pid),
            "pss_bytes": memory(pid),
            **{name: board.read(slot, row, name) for name in GAUGES},
        }

    def _helper(self, slot: int) -> str | None:
        helper = self._board.slot(slot, "helper")
        return self._name(helper - 1) if helper else None

    def _name(self, slot: int) -> str:
        return f"{self._pool}/{slot}"


def _since(milliseconds: int, now: float) -> float | None:
    """Return the seconds since a time on the scoreboard, None if it has no time."""
    return round(max(0.0, now - milliseconds / 1000), 3) if milliseconds else None
