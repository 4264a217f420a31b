"""The handlers of a service: their numbers, and what is counted of each.

Rules. A handler keeps its number as long as the service lives, whatever edition names it: a worker that
starts looks its handlers up by kind, name and path, and adds those that are new. It holds a record lock
meanwhile, which the kernel frees when the worker dies; an entry is complete with its last store, so one
that was not finished is written over. What nobody serves any more keeps its counts. The first entry is
for requests that no handler has answered.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

from mpchat.linux import system
from mpchat.scoreboard.counters import Metric

PLACES = 512
"""Handlers that a service may have had since it began, with the entry for none."""
_ENTRY = 128
"""64-bit items of an entry: the length of its text, and the text"""
_TEXT_BYTES = 8 * (_ENTRY - 1)
_NAME = 200
"""Characters of a name; what is longer is cut, as a long path is"""
DIRECTORY_ITEMS = PLACES * _ENTRY
_LOCK = 1, 1 << 61
"""Length and place of the record that is locked: other locks are on other bytes of the same file."""

COUNTED = (
    Metric("messages_received", "counter", "messages", "Messages received from clients"),
    Metric("messages_sent", "counter", "messages", "Messages sent to clients"),
    Metric("bytes_received", "counter", "bytes", "Payload bytes of the messages received"),
    Metric("bytes_sent", "counter", "bytes", "Payload bytes of the messages sent"),
    Metric("opened", "counter", "connections", "WebSocket connections opened"),
    Metric("too_many_in_flight", "counter", "requests", "Refused by max_requests_in_flight"),
    Metric(
        "too_many_per_second",
        "counter",
        "requests",
        "Refused by max_requests_per_second or congestion control",
    ),
)
"""What is counted of a handler beside its answers"""
OTHER = 0
"""Stands for status codes that are not registered"""
CODES = (OTHER, *(int(status) for status in HTTPStatus))
NAMES = (*(metric.name for metric in COUNTED), *CODES)
WIDTH = 80
"""64-bit items of one handler in one row, in the order of NAMES"""
INDEX = {name: index for index, name in enumerate(NAMES)}


class Served(NamedTuple):
    """A handler, as operators know it."""

    name: str
    path: str
    is_websocket: bool


NOBODY = Served("", "", False)
"""Whom requests count for that no handler has answered"""


class Directory:
    """The names of all handlers of the service."""

    def __init__(self, items: memoryview, descriptor: int) -> None:
        self._items = items
        self._bytes = items.cast("B")
        self._descriptor = descriptor

    def numbers(self, handlers: Iterable[Served]) -> list[int]:
        """Return the number of each handler, adding those that are new.

        Raises:
            OSError: The system refuses the lock.
            RuntimeError: There is no place left.
        """
        system.lockf(self._descriptor, fcntl.LOCK_EX, *_LOCK)
        try:
            places = {text: place for place, text in enumerate(self._texts())}
            return [self._place(places, _text_of(handler)) for handler in handlers]
        finally:
            system.lockf(self._descriptor, fcntl.LOCK_UN, *_LOCK)

    def all(self) -> list[Served]:
        """Return all handlers, by number."""
        found = []
        for text in self._texts():
            kind, name, path = text.decode("utf-8", "replace").split("\n", 2)
            found.append(Served(name, path, kind == "websocket"))
        return found

    def release(self) -> None:
        """Release the memory."""
        self._bytes.release()
        self._items.release()

    def _texts(self) -> Iterable[bytes]:
        for place in range(PLACES):
            length = self._items[place * _ENTRY]
            if not length:
                return
            start = 8 * (place * _ENTRY + 1)
            yield bytes(self._bytes[start : start + length])

    def _place(self, places: dict[bytes, int], text: bytes) -> int:
        if not places:
            self._add(0, _text_of(NOBODY))
            places[_text_of(NOBODY)] = 0
        place = places.get(text)
        if place is None:
            place = places[text] = len(places)
            if place >= PLACES:
                raise RuntimeError(
                    f"this service has had {PLACES - 1} handlers with different names or paths since "
                    "it was started, and restarts have brought more: stop it and start it again"
                )
            self._add(place, text)
        return place

    def _add(self, place: int, text: bytes) -> None:
        start = 8 * (place * _ENTRY + 1)
        self._bytes[start : start + len(text)] = text
        self._items[place * _ENTRY] = len(text)


def _text_of(handler: Served) -> bytes:
    kind = "websocket" if handler.is_websocket else "http"
    return f"{kind}\n{handler.name[:_NAME]}\n{handler.path}".encode()[:_TEXT_BYTES]
