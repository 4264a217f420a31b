"""Parts of a message or a frame, kept in little more memory than the whole takes.

Rules. A part may have one byte, and an object for each would take fifty times that: parts are joined
as they accumulate, each byte once before the end. Empty ones are not kept.
"""

from __future__ import annotations

from typing import Generic, TypeVar

PartT = TypeVar("PartT", str, bytes)


class Parts(Generic[PartT]):
    """Parts that are all str or all bytes, as ``empty`` is."""

    __slots__ = ("_at_once", "_empty", "_joined", "_new")

    def __init__(self, empty: PartT, at_once: int) -> None:
        self._at_once = at_once
        self._empty: PartT = empty
        self._joined: list[PartT] = []
        self._new: list[PartT] = []

    def add(self, part: PartT) -> None:
        """Add one behind the others."""
        if not part:
            return
        self._new.append(part)
        if len(self._new) >= self._at_once:
            self._joined.append(self._empty.join(self._new))
            self._new.clear()

    def join(self) -> PartT:
        """Return the whole."""
        return self._empty.join(self._joined + self._new)
