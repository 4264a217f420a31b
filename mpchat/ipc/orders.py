"""Orders from a child to the supervisor, and their answers."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from mpchat.ipc import messages
from mpchat.ipc.channel import Channel
from mpchat.ipc.control import ControlError


class OrderGiver(Protocol):
    """Gives orders to whoever carries them out; see Orders.give."""

    async def give(
        self, verb: str, *descriptors: int, arguments: dict[str, Any] | None = None
    ) -> messages.OrderDone: ...


class Orders:
    """The orders that wait for an answer; the reader of the channel passes answers to ``done``."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: dict[int, asyncio.Future[messages.OrderDone]] = {}
        self._next = 1

    async def give(
        self, verb: str, *descriptors: int, arguments: dict[str, Any] | None = None
    ) -> messages.OrderDone:
        """Give an order and wait for its answer; messages.Order says when the answer comes.

        Raises:
            ControlError: The order was not carried out; one reason per line.
        """
        number = self._next
        self._next += 1
        future: asyncio.Future[messages.OrderDone] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        order = messages.Order(number, verb, arguments or {})
        messages.send(self._channel, order, descriptors)
        try:
            done = await future
        finally:
            del self._waiting[number]
        if done.error:
            raise ControlError(done.error)
        return done

    def done(self, message: messages.OrderDone) -> None:
        """Take an answer; its caller may no longer wait."""
        future = self._waiting.get(message.number)
        if future is not None and not future.done():
            future.set_result(message)
