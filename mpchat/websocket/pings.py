"""Pings that a handler sent and waits for, by their payload (RFC 6455, sections 5.5.2 and 5.5.3)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable

from websockets.exceptions import ConcurrencyError, ConnectionClosed

from mpchat.websocket.frames import PING, frame_header


class Pings:
    """The pings of one connection, from the first that its handler sends.

    Attributes:
        unanswered: How many went out since the handler last met a pong.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
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
        self._waiting[payload] = (future, time.monotonic())
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

    def _answer(self, payload: bytes) -> None:
        now = time.monotonic()
        for waiting in list(self._waiting):
            future, sent = self._waiting.pop(waiting)
            if not future.done():
                future.set_result(now - sent)
            if waiting == payload:
                return

    def end(self, error: ConnectionClosed) -> None:
        """The connection is over: nobody will answer."""
        for future, _sent in self._waiting.values():
            if not future.done():
                future.set_exception(error)
                # Nobody may be waiting; asyncio would call that a mistake.
                future.exception()
        self._waiting.clear()
