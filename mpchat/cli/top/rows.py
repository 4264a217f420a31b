"""The rows of the tables: a process each, or a connection.

Rules. None stands for what a process does not have or nobody knows yet. Counters are the slot's: while a
slot has two workers, only one of them has these, so that nothing is shown twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

from mpchat.cli.quantities import duration, word
from mpchat.scoreboard.heartbeat import SILENT_SECONDS


class Health(IntEnum):
    """How well a process is."""

    FINE = 0
    CHANGING = 1
    """It is about to begin or to end"""
    BAD = 2


@dataclass(frozen=True)
class Row:
    """A worker, the broker, or a slot without a worker.

    Attributes:
        slot: The worker's slot; None: it is the broker.
        name: As logs have it.
        age: Seconds since it was started.
        connections: Open WebSocket connections; of a broker, members of its rooms.
        received: Messages from clients per second; of a broker, those published.
        sent: Messages to clients per second; of a broker, to workers.
        lag: The longest delay of its loop within the last second, in milliseconds.
        cpu: Its share of a core, in percent.
        memory: Bytes.
    """

    slot: int | None
    name: str
    pid: int | None
    state: str
    health: Health
    age: float | None
    restarts: int
    generation: int | None = None
    connections: int | None = None
    received: float | None = None
    sent: float | None = None
    bytes_received: float | None = None
    bytes_sent: float | None = None
    lag: float | None = None
    cpu: float | None = None
    memory: int | None = None

    @property
    def key(self) -> tuple[int | None, int | None]:
        """What it is called from one status to the next."""
        return self.slot, self.pid

    @property
    def messages(self) -> float | None:
        """Messages per second in both directions."""
        if self.received is None or self.sent is None:
            return None
        return self.received + self.sent


def worker_rows(answer: dict[str, Any]) -> Iterator[Row]:
    """Return the workers' rows; slots that are scaled away have none."""
    present = [worker for worker in answer["workers"] if worker["state"] != "away"]
    first: dict[int, dict[str, Any]] = {}
    for worker in sorted(present, key=lambda worker: worker["state"] != "ready"):
        first.setdefault(worker["slot"], worker)
    for worker in present:
        counts = worker is first[worker["slot"]]
        shown, health = _state(worker["state"], worker.get("silent_seconds"))
        yield Row(
            slot=worker["slot"],
            name=worker["name"],
            # 0: the template has not forked it yet.
            pid=worker.get("pid") or None,
            state=shown,
            health=health,
            age=worker.get("age_seconds"),
            restarts=worker["restarts"],
            generation=worker.get("generation"),
            connections=worker.get("connections"),
            received=worker["messages_received"] if counts else None,
            sent=worker["messages_sent"] if counts else None,
            bytes_received=worker["bytes_received"] if counts else None,
            bytes_sent=worker["bytes_sent"] if counts else None,
            lag=worker.get("loop_lag_ms"),
            cpu=worker.get("cpu_percent"),
            memory=worker.get("pss_bytes"),
        )


def broker_row(broker: dict[str, Any], before: dict[str, Any] | None, seconds: float) -> Row:
    """Return the broker's row; ``before`` is what was said of the same broker ``seconds`` ago."""
    shown, health = _state(broker["state"], broker["silent_seconds"])
    sent = cpu = None
    if before is not None and seconds > 0:
        sent = (broker["delivered"] - before["delivered"]) / seconds
        if broker["cpu_seconds"] is not None and before["cpu_seconds"] is not None:
            cpu = 100 * max(0.0, broker["cpu_seconds"] - before["cpu_seconds"]) / seconds
    return Row(
        slot=None,
        name="broker",
        pid=broker["pid"],
        state=shown,
        health=health,
        age=broker["age_seconds"],
        restarts=broker["restarts"],
        connections=broker["members"],
        received=broker["messages_per_second"],
        sent=sent,
        cpu=cpu,
        memory=broker["pss_bytes"],
    )


@dataclass(frozen=True)
class Connection:
    """An open WebSocket connection; docs/control-socket.md describes the fields."""

    id: str
    peer: str
    user: str
    path: str
    age_seconds: float
    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int
    messages_waiting: int
    bytes_waiting: int

    @classmethod
    def of(cls, row: dict[str, Any]) -> Connection:
        """Return a row of the service's answer, with words that no terminal obeys."""
        found = {item.name: row[item.name] for item in fields(cls)}
        return cls(**found | {name: word(found[name]) for name in ("id", "peer", "user", "path")})


def _state(state: str, silent: float | None) -> tuple[str, Health]:
    """Return what is shown of a state, and how well the process is."""
    if state in {"starting", "retiring", "stopping"}:
        return state, Health.CHANGING
    if state != "ready":
        return state, Health.BAD
    if silent is not None and silent > SILENT_SECONDS:
        return f"silent {duration(silent)}", Health.BAD
    return state, Health.FINE
