"""What a client has published and was not answered yet.

Rules. Messages that have arrived are published without waiting for the answers to those before them,
unless so many are open. Whoever leaves waits for what is open, so that a member publishes it; who is
cancelled gives it up. A client that is told of each message has a Window: its handler waits for answers
when there is nothing else to take, and gives them in the order in which the messages came. One that is
told nothing has a Tally, and its handler is not woken for any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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

    async def __aexit__(self, kind: type[BaseException] | None, *_error: object) -> None:
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


class Tally:
    """How many publishes of one connection are open, ``async with Tally(chat, ending) as tally``.

    It is the answer to each of them. Once one was refused, and all others are answered, the connection
    ends: as ``ending`` says, by a close code and a reason.

    Attributes:
        error: Why the first one was refused.
    """

    __slots__ = ("_ending", "_incoming", "_is_over", "_most", "_protocol", "_waiter", "error")

    def __init__(
        self, chat: WebSocketConnection, ending: Callable[[Exception], tuple[int, str]]
    ) -> None:
        self.error: Exception | None = None
        self._ending = ending
        self._protocol = protocol_of(chat)
        self._incoming = self._protocol.incoming
        self._is_over = False
        self._waiter: asyncio.Future[None] | None = None
        self._most = 0
        """How many may be open for who waits to go on"""

    async def add(self) -> None:
        """Count one that was begun; with MOST of them wait until half are answered."""
        self._incoming.in_hand += 1
        if self._incoming.in_hand >= MOST:
            await self._wait(MOST // 2)

    def refuse(self, error: Exception) -> None:
        """One could not even be begun."""
        self.error = self.error or error
        if not self._incoming.in_hand:
            self._settle()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        try:
            if kind is not asyncio.CancelledError:
                await self._wait(0)
        finally:
            self._is_over = True
            self._incoming.in_hand = 0

    async def _wait(self, most: int) -> None:
        if self._incoming.in_hand > most:
            self._most = most
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    # As the answer to each

    def done(self) -> bool:
        """Whether nobody counts any more."""
        return self._is_over

    def set_result(self, _position: Position, /) -> None:
        """One is stored."""
        self._count_down()

    def set_exception(self, error: Exception, /) -> None:
        """One is refused, or may be lost."""
        self.error = self.error or error
        self._count_down()

    def _count_down(self) -> None:
        incoming, waiter = self._incoming, self._waiter
        incoming.in_hand -= 1
        if waiter is not None and incoming.in_hand <= self._most and not waiter.done():
            waiter.set_result(None)
        if not incoming.in_hand:
            self._settle()

    def _settle(self) -> None:
        """All are answered."""
        if self.error is not None:
            self._protocol.close(*self._ending(self.error))
        elif self._incoming.callback is not None:
            # The handler waits for a message, and has waited since before all were answered.
            self._protocol.caught_up()
