"""A history of small segments, with a clock and a file that outlive its brokers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mpchat.broker.history import History
from mpchat.broker.reading import Limits
from mpchat.ipc import records
from mpchat.ipc.records import KEYED, MESSAGE
from mpchat.linux import system
from tests.cuts import ALL, everything

__all__ = ["ALL", "Life", "calls", "everything", "flipped"]

SEGMENT, SLOTS = 1024, 4
WINDOW = 1000


class Life:
    """One broker's history after another, in one file.

    Attributes:
        now: Milliseconds of the monotonic clock.
        wall: Those of the wall clock.
        log: The history of the broker that lives.
    """

    def __init__(
        self,
        history: type[History] = History,
        *,
        segment: int = SEGMENT,
        slots: int = SLOTS,
        **options: Any,
    ) -> None:
        self._history = history
        self._options = {"segment": segment, "window": WINDOW, **options}
        self.now, self.wall = 10_000, 1_764_374_400_000
        self.counter = 0
        self.file = os.memfd_create("history", os.MFD_CLOEXEC)
        os.ftruncate(self.file, segment * slots)
        self.log = self.restart()

    def close(self) -> None:
        """Give the file back."""
        os.close(self.file)

    def restart(self) -> History:
        """Have another broker."""
        self.log = self._history(self.file, clock=lambda: self.now, **self._options)
        return self.log

    def say(
        self,
        room: str,
        payload: bytes = b"hello",
        *,
        key: bytes = b"",
        kind: int = MESSAGE,
        commit: bool = True,
    ) -> int:
        """Publish, and return the offset."""
        self.counter += 1
        flags = KEYED if key else 0
        offset = self.log.append(
            kind, flags, room.encode(), b"ann", key, payload, self.wall, 7, self.counter
        )
        if commit:
            self.log.commit()
        return offset

    def fill(self, segments: int = 1, room: str = "other") -> None:
        """Publish until so many segments were begun."""
        number = self.log.end // self.log.segment_size
        while self.log.end // self.log.segment_size < number + segments:
            self.say(room, bytes(100))

    def since(self, room: str, offset: int, limits: Limits = ALL) -> tuple[bool, list[int]]:
        """Return whether the history reaches back, and the offsets since."""
        found = self.log.since(room.encode(), offset, limits)
        assert not found.more
        return found.recovered, list(map(records.offset_of, found.records))


@contextmanager
def calls(name: str, replacement: Any = None) -> Iterator[list[tuple[Any, ...]]]:
    """Note the calls of a function of ``system``, and let ``replacement`` answer."""
    real = getattr(system, name)
    noted: list[tuple[Any, ...]] = []

    def call(*given: Any) -> Any:
        noted.append(given)
        return (replacement or real)(*given)

    setattr(system, name, call)
    try:
        yield noted
    finally:
        setattr(system, name, real)


def flipped(descriptor: int, place: int) -> None:
    """Damage one byte of the file."""
    byte = os.pread(descriptor, 1, place)[0]
    os.pwrite(descriptor, bytes((byte ^ 0x40,)), place)
