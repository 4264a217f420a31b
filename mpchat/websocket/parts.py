"""Parts of a message or a frame, kept in little more memory than the whole takes.

Rules. A part may have one byte, and an object for each would take fifty times that: parts are joined
as they accumulate, each byte once before the end. Empty ones are not kept.
"""

from __future__ import annotations

from typing import Generic, TypeVar

PartT = TypeVar("PartT", str, bytes)
_AT_ONCE = 256
"""Parts that are joined: what joins a byte each is a fifth larger than its bytes."""


class Parts(Generic[PartT]):
    """All of text, or all of bytes, as the empty part says that it begins with."""

    __slots__ = ("_empty", "_joined", "_new")

    def __init__(self, empty: PartT) -> None:
        self._empty: PartT = empty
        self._joined: list[PartT] = []
        self._new: list[PartT] = []

    def add(self, part: PartT) -> None:
        """Add one behind the others."""
        if not part:
            return
        self._new.append(part)
        if len(self._new) >= _AT_ONCE:
            self._joined.append(self._empty.join(self._new))
            self._new.clear()

    def join(self) -> PartT:
        """Return the whole."""
        return self._empty.join(self._joined + self._new)
