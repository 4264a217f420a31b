"""The messages of one connection as its handler awaits them: ``recv``, ``send`` and iteration.

Rules. This is the hot path: one call each into the protocol, and no allocation that an idle connection
would keep. One task at a time may receive; any number may send. ``messages.pyx`` has the same class for
the compiled form, with awaitables in place of coroutines: what they promise is tested of both.
"""

from __future__ import annotations

import asyncio
from typing import Self

from websockets.exceptions import ConnectionClosedOK

from mpchat.websocket.assembly import Message
from mpchat.websocket.protocol import WebSocketProtocol


class Messages:
    """The half of a ``WebSocketConnection`` that every message passes."""

    __slots__ = ("_incoming", "_max_taken", "_messages", "_protocol", "_taken")

    def __init__(self, protocol: WebSocketProtocol) -> None:
        self._protocol = protocol
        self._incoming = protocol.incoming
        # The same list, which a message then finds in one step.
        self._messages = protocol.incoming.messages
        self._taken = 0
        self._max_taken = protocol.shared.thresholds.max_taken

    async def recv(self) -> Message:
        """Return the next message, waiting for it if need be: str for text, bytes for binary.

        To wait is also to say that all messages so far are answered: the answer to a client's Close or
        mistake is held back until then (for ``close-timeout`` at the longest), and so is our Close at a
        worker's end.

        Raises:
            ConnectionClosed: The connection has ended and all its messages were taken:
                ConnectionClosedOK with 1000, 1001 or no code, else ConnectionClosedError.
            ConcurrencyError: Another ``recv`` is waiting.
        """
        messages = self._messages
        incoming = self._incoming
        if incoming.ahead:
            incoming.ahead -= 1
            if not incoming.ahead:
                self._protocol.turn.answered(incoming)
        if messages:
            self._taken += 1
            if self._taken >= self._max_taken:
                self._taken = 0
                await asyncio.sleep(0)
        else:
            self._taken = 0
        while not messages:
            if incoming.attention or incoming.callback is not None:
                self._protocol.look()
                if messages:
                    break
            await incoming
        return messages.pop(0)

    async def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send a text (str) or binary message.

        Waits, before it takes the message, while more than ``write-limit`` bytes are unsent because the
        client reads slowly; cancelled meanwhile, it sends nothing. A client that takes nothing for
        ``write-timeout`` is cut off. A message longer than ``fragment-size`` goes out in fragments.

        Once the client has sent its Close, only answers still go out: as many messages as came before it
        and were not answered yet.

        Raises:
            ConnectionClosed: The connection has ended.
            TypeError: The message is of another type.
        """
        while not self._protocol.send_now(message):
            await self._protocol.wait_to_send()

    def __aiter__(self) -> Self:
        """Iterate over messages; ends on a normal close (1000, 1001), raises on another."""
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.recv()
        except ConnectionClosedOK:
            raise StopAsyncIteration from None
