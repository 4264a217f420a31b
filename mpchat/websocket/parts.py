"""Parts of a message that arrives in fragments, kept in little more memory than the message takes.

Rules. A fragment may have one byte, and an object for each would take fifty times that: parts are joined
as they accumulate, each byte once before the end. Empty ones are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable

Part = str | bytes
_AT_ONCE = 256
"""Parts that are joined: what joins a byte each is a fifth larger than its bytes."""


class Parts:
    """All of text, or all of bytes."""

    __slots__ = ("_joined", "_new", "_text")

    def __init__(self, text: bool) -> None:
        self._text = text
        self._joined: list[Part] = []
        self._new: list[Part] = []

    def add(self, part: Part) -> None:
        """Add one behind the others."""
        if not part:
            return
        self._new.append(part)
        if len(self._new) >= _AT_ONCE:
            self._joined.append(self._join(self._new))
            self._new.clear()

    def join(self) -> Part:
        """Return the whole."""
        return self._join((*self._joined, *self._new))

    def _join(self, parts: Iterable[Part]) -> Part:
        return "".join(parts) if self._text else b"".join(parts)  # type: ignore[arg-type]
