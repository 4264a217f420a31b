"""Answers of the control socket as a service gives them, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from mpchat.scoreboard.counters import GAUGES, LIMITS, TOTALS


def worker(slot: int, **changes: Any) -> dict[str, Any]:
    """Return a worker that serves; its pid is 100 and its slot."""
    return {
        "name": f"main-task-processor/{slot}",
        "slot": slot,
        "pid": 100 + slot,
        "state": "ready",
        "age_seconds": 61.0,
        "restarts": 0,
        "helper": None,
        "generation": 1,
        "compiled": True,
        "loop_lag_ms": 1.25,
        "silent_seconds": 0.1,
        "cpu_seconds": 3.5,
        "cpu_percent": 12.5,
        "pss_bytes": 10 * 1024 * 1024,
        **dict.fromkeys(GAUGES, 5),
        **dict.fromkeys(TOTALS, 0),
        **changes,
    }


def without_worker(slot: int, state: str) -> dict[str, Any]:
    """Return a slot that has none: ``down`` or ``away``."""
    kept = {"name", "slot", "restarts", "helper", *TOTALS}
    return {name: value for name, value in worker(slot).items() if name in kept} | {"state": state}


def broker(**changes: Any) -> dict[str, Any]:
    """Return a broker that is ready."""
    return {
        "state": "ready",
        "pid": 90,
        "age_seconds": 61.0,
        "restarts": 0,
        "silent_seconds": 0.1,
        "rooms": 2,
        "members": 340,
        "messages": 9000,
        "messages_per_second": 25.5,
        "history_bytes_used": 3 * 1024 * 1024,
        "history_bytes": 64 * 1024 * 1024,
        "workers_behind": 0,
        "repeated": 0,
        "refused": 0,
        "delivered": 0,
        "workers_lost": 0,
        "engine": "host",
        "stream_lost_seconds": None,
        "cpu_seconds": 1.0,
        "pss_bytes": 5 * 1024 * 1024,
        **changes,
    }


def status(*workers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a status with these workers; ``limits`` and ``totals`` are changed by name."""
    limits, totals = changes.pop("limits", {}), changes.pop("totals", {})
    return {
        "version": "1.2",
        "pid": 50,
        "address": "ws://localhost:8080/chat",
        "uptime_seconds": 61.5,
        "silent_seconds": 0.2,
        "generation": 1,
        "activity": None,
        "faults": 0,
        "hang_timeout_seconds": 15.0,
        "broker": None,
        "console": None,
        "config_service": None,
        "certificates": [],
        "workers": list(workers),
        "totals": {**dict.fromkeys((*TOTALS, *GAUGES), 0), **totals},
        "limits": dict.fromkeys(LIMITS, 0) | limits,
        **changes,
    }


def connection(name: str, **changes: Any) -> dict[str, Any]:
    """Return the row of an open connection."""
    return {
        "id": name,
        "peer": "192.0.2.1:4000",
        "user": None,
        "tags": [],
        "path": "/chat",
        "age_seconds": 5.0,
        "messages_received": 1,
        "messages_sent": 2,
        "bytes_received": 1000,
        "bytes_sent": 0,
        "messages_waiting": 0,
        "bytes_waiting": 0,
        **changes,
    }
