"""The bodies of requests that a worker holds: those that arrive, and those that handlers work on.

Rules. All of them together have a limit. Beyond it, the request is refused whose body has been arriving
for the longest time, so that one which trickles in keeps nobody out; if none is arriving, the newest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

LIMIT = "request-bodies"
"""What counts the refused requests, one of LIMITS."""


class HasBody(Protocol):
    """A client whose request has a body."""

    def refuse_body(self) -> None:
        """Refuse the request whose body is arriving."""


class Bodies:
    """The bodies of one worker.

    ``most`` is the largest number of bytes; ``count_limit`` counts a refusal.

    Attributes:
        held: The bytes of all bodies.
    """

    def __init__(self, most: int, count_limit: Callable[[str], None]) -> None:
        self.held = 0
        self._most = most
        self._count_limit = count_limit
        # In the order in which they began.
        self._arriving: dict[HasBody, int] = {}
        self._whole: dict[HasBody, int] = {}

    def arriving(self, client: HasBody, size: int) -> None:
        """Note that so many bytes of a client's body have come; this or another may be refused."""
        self.held += size - self._arriving.get(client, 0)
        self._arriving[client] = size
        self._make_room()

    def whole(self, client: HasBody, size: int) -> bool:
        """Hold a body that has come, until ``gone``; return False if there is no room for it."""
        self.gone(client)
        self.held += size
        self._whole[client] = size
        self._make_room()
        if self.held <= self._most:
            return True
        self.gone(client)
        self._count_limit(LIMIT)
        return False

    def gone(self, client: HasBody) -> None:
        """Forget a client's body, if it has one."""
        self.held -= self._arriving.pop(client, 0) + self._whole.pop(client, 0)

    def _make_room(self) -> None:
        while self.held > self._most and self._arriving:
            first = next(iter(self._arriving))
            self.gone(first)
            self._count_limit(LIMIT)
            first.refuse_body()
