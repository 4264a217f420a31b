"""Pings that a handler sent and waits for, by their payload (RFC 6455, sections 5.5.2 and 5.5.3)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable

from websockets.exceptions import ConcurrencyError, ConnectionClosed

from mpchat.websocket.frames import PING, frame_header


class Pings:
    """The pings of one connection, from the first that its handler sends.

    Attributes:
        unanswered: How many went out since the handler last met a pong.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._waiting: dict[bytes, tuple[asyncio.Future[float], float]] = {}
        self.unanswered = 0
        self._pong_behind: int | None = None
        """How many messages came before the latest pong, while the handler has not met it"""

    def add(self, data: bytes | None) -> tuple[bytes, asyncio.Future[float]]:
        """Return a frame to send and the future of its latency in seconds.

        Raises:
            ConcurrencyError: A ping with this payload is waiting already.
        """
        payload = os.urandom(4) if data is None else data
        if payload in self._waiting:
            raise ConcurrencyError("already waiting for a pong with the same data")
        self.unanswered += 1
        future: asyncio.Future[float] = self._loop.create_future()
        # Not the loop's clock: it stands still for a turn, and an answer may come within one.
        self._waiting[payload] = (future, self._clock())
        return frame_header(PING, len(payload)) + payload, future

    def answer(self, pongs: Iterable[tuple[int, bytes]]) -> None:
        """Take pongs, each with the number of messages before it.

        Each answers the ping of its payload and all before that. For ``unanswered`` any pong will do, but
        not before the handler meets it.
        """
        for messages_before, payload in pongs:
            self._pong_behind = messages_before
            if payload in self._waiting:
                self._answer(payload)

    def meet(self, asked_for: int) -> None:
        """The handler has asked for so many messages, and has met what came before the last of them."""
        if self._pong_behind is not None and asked_for > self._pong_behind:
            self.unanswered, self._pong_behind = 0, None

    def to_state(self) -> tuple[int, int | None]:
        """Return what is known of unanswered pings; a task that awaits an answer does not move."""
        return self.unanswered, self._pong_behind

    def continue_from(self, state: tuple[int, int | None]) -> None:
        """Go on where another object has left off."""
        self.unanswered, self._pong_behind = state

    def _answer(self, payload: bytes) -> None:
        now = self._clock()
        for waiting in list(self._waiting):
            future, sent = self._waiting.pop(waiting)
            if not future.done():
                future.set_result(now - sent)
            if waiting == payload:
                return

    def end(self, error: ConnectionClosed) -> None:
        """The connection is over: no answer comes."""
        for future, _sent in self._waiting.values():
            if not future.done():
                future.set_exception(error)
                # Asyncio logs an exception that no task looks at.
                future.exception()
        self._waiting.clear()
