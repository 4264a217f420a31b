"""What workers publish, on its way to the stream.

Rules. A room has one message in flight, since what is repeated would come behind its successors; all
rooms have theirs at once. What has no answer is sent again with its id, until the time is over: the
stream stores it once. After that nobody knows whether it is stored, and the worker is told that it may
be. Of a worker that is gone nothing more is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from mpchat.broker.pairs import Pair
from mpchat.ipc.rooms import Reason
from mpchat.jetstream.api import Ack, Api
from mpchat.jetstream.errors import JetStreamError, Refused, Unavailable

_ATTEMPT: Final = 2.0
"""Seconds for one answer of the stream"""
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 2.0
"""Seconds between two attempts"""
_TOO_LARGE: Final = 10054
"""The stream's error: the message is larger than ``max-message``"""

log = logging.getLogger("mpchat.broker")


class Desk(Protocol):
    """Who answers workers."""

    def stored(self, publish: Publish, ack: Ack) -> None:
        """The stream has the message."""

    def refuse(self, publish: Publish, reason: Reason) -> None:
        """It has not, or nobody knows."""


class Publish:
    """A message, or the end of a room.

    Attributes:
        pair, counter: Whose it is.
        room, token: Where it goes.
        id: What the stream knows it by, when it comes again.
        body: As the stream keeps it.
        deadline: Seconds of the clock, after which it is given up.
    """

    __slots__ = ("body", "counter", "deadline", "id", "pair", "room", "token")

    def __init__(
        self,
        pair: Pair,
        counter: int,
        room: bytes,
        token: str,
        id: str,
        body: bytes,
        deadline: float,
    ) -> None:
        self.pair = pair
        self.counter = counter
        self.room = room
        self.token = token
        self.id = id
        self.body = body
        self.deadline = deadline


class Outbox:
    """The publishes of all workers of this host.

    Attributes:
        waiting: How many have no answer.
        retries: How often one was sent again.
    """

    def __init__(
        self,
        api: Api,
        desk: Desk,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        clock: Callable[[], float],
    ) -> None:
        self.waiting = self.retries = 0
        self._api = api
        self._desk = desk
        self._spawn = spawn
        self._clock = clock
        self._rooms: dict[bytes, deque[Publish]] = {}

    def put(self, publish: Publish) -> None:
        """Send a message behind all others of its room."""
        self.waiting += 1
        queue = self._rooms.get(publish.room)
        if queue is not None:
            queue.append(publish)
            return
        self._rooms[publish.room] = queue = deque((publish,))
        self._spawn(self._send_all(publish.room, queue))

    async def _send_all(self, room: bytes, queue: deque[Publish]) -> None:
        while queue:
            await self._send(queue[0])
            queue.popleft()
            self.waiting -= 1
        del self._rooms[room]

    async def _send(self, publish: Publish) -> None:
        """Send one until there is an answer, or its time is over."""
        pause = _FIRST_PAUSE
        while publish.pair.open:
            left = publish.deadline - self._clock()
            if left <= 0:
                self._desk.refuse(publish, Reason.UNAVAILABLE)
                return
            try:
                ack = await self._api.publish(
                    publish.token, publish.body, id=publish.id, timeout=min(_ATTEMPT, left)
                )
            except Unavailable:
                # It may be stored: it is sent again with the same id.
                self.retries += 1
                await asyncio.sleep(min(pause, max(0.0, publish.deadline - self._clock())))
                pause = min(2 * pause, _LAST_PAUSE)
            except Refused as error:
                too_large = error.err_code == _TOO_LARGE
                if not too_large:
                    log.error("the stream refuses a message: %s", error)  # noqa: TRY400 - no mistake of ours
                reason = Reason.SIZE if too_large else Reason.UNAVAILABLE
                self._desk.refuse(publish, reason)
                return
            except JetStreamError as error:
                log.error("a message cannot be published: %s", error)  # noqa: TRY400 - no mistake of ours
                self._desk.refuse(publish, Reason.UNAVAILABLE)
                return
            else:
                self._desk.stored(publish, ack)
                return
