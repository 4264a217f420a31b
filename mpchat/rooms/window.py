"""What a client has published and was not answered yet: a window of messages, in order.

Rules. Messages that have arrived are published without waiting for the answers to those before them; for
these a handler waits when there is nothing else to take, or when so many are open. They are answered in
the order in which they came. Whoever leaves waits for what is open, so that a member publishes it; who is
cancelled gives it up.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Generic, Self, TypeVar

from mpchat.rooms.errors import RoomError
from mpchat.rooms.position import Position
from mpchat.websocket.connection import WebSocketConnection, protocol_of

MOST = 64
"""Publishes that a connection has open: more gain nothing, and all of a worker have MAX_OPEN."""

T = TypeVar("T")


class Window(Generic[T]):
    """The open publishes of one connection, ``async with Window(chat) as window``.

    With each stands what its answer needs.
    """

    __slots__ = ("_incoming", "_open")

    def __init__(self, chat: WebSocketConnection) -> None:
        self._incoming = protocol_of(chat).incoming
        self._open: list[tuple[T, asyncio.Future[Position]]] = []

    def add(self, about: T, answer: asyncio.Future[Position]) -> None:
        """Add the newest one."""
        self._open.append((about, answer))
        self._incoming.in_hand = len(self._open)

    def refuse(self, about: T, error: RoomError) -> None:
        """Add one that is not published; it is answered in its turn."""
        answer: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        answer.set_exception(error)
        self.add(about, answer)

    def __bool__(self) -> bool:
        return bool(self._open)

    @property
    def is_due(self) -> bool:
        """Whether the oldest one is to be answered before another message is taken."""
        count = len(self._open)
        return count >= MOST or (count > 0 and not self._incoming.messages)

    @property
    def oldest(self) -> tuple[T, asyncio.Future[Position]]:
        """The one that is answered next."""
        return self._open[0]

    def pop(self) -> None:
        """The oldest one is answered."""
        del self._open[0]
        self._incoming.in_hand = len(self._open)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        answers = [answer for _about, answer in self._open]
        try:
            if answers and kind is not asyncio.CancelledError:
                await asyncio.wait(answers)
        finally:
            self._incoming.in_hand = 0
            for answer in answers:
                if not answer.cancel() and not answer.cancelled():
                    # Nobody is told any more; asyncio complains of an error that nobody has asked for.
                    answer.exception()
