"""Questions to the service, asked in threads: it may be slow to answer, and keys work meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from mpchat.cli.top.history import Seen
from mpchat.cli.top.rows import Connection
from mpchat.cli.top.tables import MOST_CONNECTIONS, Details
from mpchat.ipc.control import ControlError, ask
from mpchat.ipc.reports import BY_MESSAGES

T = TypeVar("T")

STATUS = {"verb": "status"}
EVERY = 1.0
"""Seconds between two questions."""
PATIENCE = 10.0
"""Seconds after which a question is asked again."""
_ROOMS = 10


def in_background(question: Callable[[], T], wake: Callable[[], None]) -> Future[T]:
    """Ask in a thread that nobody waits for at the end; ``wake`` is called when the answer is there."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(question())
        except BaseException as error:  # noqa: BLE001 - whoever takes the result gets it
            answer.set_exception(error)
        wake()

    threading.Thread(target=run, daemon=True).start()
    return answer


def now() -> tuple[float, str]:
    """Return the time by a clock that never goes back, and by the one on the wall."""
    return time.monotonic(), time.strftime("%H:%M:%S")


def ask_details(path: str, seen: Seen, slot: int | None, by: str) -> Details:
    """Ask for the busiest rooms, and for the connections of a slot with most of ``by``.

    What is refused is said in place of the answer.
    """
    rooms: list[dict[str, Any]] = []
    connections: list[Connection] = []
    no_rooms = no_connections = ""
    if seen.has_broker:
        try:
            rooms = _ask(path, verb="rooms", by=BY_MESSAGES, limit=_ROOMS)["rooms"]
        except ControlError as error:
            no_rooms = str(error)
    worker = seen.worker_of(slot) if slot is not None else None
    if worker is not None:
        pid = worker.pid
        try:
            answer = _ask(path, verb="connections", pid=pid, by=by, limit=MOST_CONNECTIONS)
            connections = [Connection.of(row) for row in answer["connections"]]
            if answer["silent"]:
                no_connections = f"pid {pid} has not answered: busy, stuck, or just ended"
        except ControlError as error:
            no_connections = str(error)
    return Details(rooms, no_rooms, slot, connections, no_connections)


def _ask(path: str, **request: object) -> dict[str, Any]:
    return ask(path, request, PATIENCE)
