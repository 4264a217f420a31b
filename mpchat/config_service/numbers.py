"""What is counted of updates, on the scoreboard: it never falls when a console dies."""

from __future__ import annotations

from typing import Protocol

from mpchat.config_service.schedule import Kind


class Board(Protocol):
    """The part of the scoreboard that this needs."""

    def service(self, name: str) -> int: ...

    def set_service(self, name: str, value: int) -> None: ...


class Numbers:
    """Counts updates by their kind; times are seconds of the system's monotonic clock."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def begun(self, kind: Kind, now: float) -> None:
        """Count an update that begins."""
        self._add(kind, "attempts", 1)
        self._set(kind, "begun_at", int(now * 1000))

    def read(self, kind: Kind, variables: int) -> None:
        """Count the variables of an answer."""
        self._add(kind, "read", variables)

    def failed(self, kind: Kind, begun: float, now: float) -> None:
        """Count an update that has failed."""
        self._add(kind, "failures", 1)
        self._set(kind, "took_ms", int((now - begun) * 1000))

    def refused(self, kind: Kind) -> None:
        """Count an answer that was not put into force."""
        self._add(kind, "refused", 1)

    def succeeded(self, kind: Kind, begun: float, now: float, *, changed: bool, held: int) -> None:
        """Count an update that has succeeded, after which so many variables are held."""
        if not changed:
            self._add(kind, "no_changes", 1)
        self._set(kind, "succeeded_at", int(begun * 1000))
        self._set(kind, "took_ms", int((now - begun) * 1000))
        self._board.set_service("documents", held)

    def _add(self, kind: Kind, name: str, count: int) -> None:
        self._set(kind, name, self._board.service(f"{kind}_{name}") + count)

    def _set(self, kind: Kind, name: str, value: int) -> None:
        self._board.set_service(f"{kind}_{name}", value)
