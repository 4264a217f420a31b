"""The control socket of a service under test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mpchat.ipc.control import PATIENCE, ask


class Control:
    """Gives orders and asks questions, as the verbs do.

    Each method raises ControlError if the service refuses or does not answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(
        self, verb: str, patience: float | None = PATIENCE, **arguments: object
    ) -> dict[str, Any]:
        """Return the answer to any verb; ``patience`` is in seconds, and None waits forever."""
        return ask(str(self.path), {"verb": verb, **arguments}, patience)

    def status(self) -> dict[str, Any]:
        """Return all that the service tells of itself."""
        return self.ask("status")

    def workers(self) -> list[dict[str, Any]]:
        """Return what status tells of each worker, in the order of slots."""
        found: list[dict[str, Any]] = self.status()["workers"]
        return found

    def states(self) -> list[str]:
        """Return the workers' states."""
        return [worker["state"] for worker in self.workers()]

    def ready(self) -> set[int]:
        """Return the pids of the workers that are ready."""
        return {worker["pid"] for worker in self.workers() if worker["state"] == "ready"}

    def totals(self) -> dict[str, int]:
        """Return the counters and gauges of all workers together."""
        found: dict[str, int] = self.status()["totals"]
        return found

    def limits(self) -> dict[str, int]:
        """Return how many clients each limit has ended, without those that have ended none."""
        return {name: count for name, count in self.status()["limits"].items() if count}

    def connections(self) -> list[dict[str, Any]]:
        """Return what the service tells of each open connection."""
        found: list[dict[str, Any]] = self.ask("connections")["connections"]
        return found

    def scale(self, count: object) -> dict[str, Any]:
        """Have so many workers; return when they are ready."""
        return self.ask("scale", count=count)

    def restart(self, slot: int | None = None) -> dict[str, Any]:
        """Restart the service, or the worker of one slot; return when that is done."""
        return self.ask("restart", None, slot=slot)
