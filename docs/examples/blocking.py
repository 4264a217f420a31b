"""Blocking work: a call that would delay all clients of a worker runs on a thread instead."""

from __future__ import annotations

import asyncio
import hashlib

from mpchat import (
    Context,
    WebSocketConnection,
    WebsocketHandlerBase,
    daemon_main,
    minimal_server_component_list,
)


class Digests(WebsocketHandlerBase):
    """Answers a password with a digest that is slow to compute."""

    name = "handler-digests"

    class Options(WebsocketHandlerBase.Options):
        """The section ``handler-digests``."""

        rounds: int = 100_000

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        async for message in chat:
            # On one of fs-task-processor's threads; meanwhile the event loop serves other clients.
            digest = await asyncio.to_thread(self._digest, message)
            await chat.send(digest.hex())

    def _digest(self, password: str | bytes) -> bytes:
        secret = password.encode() if isinstance(password, str) else password
        return hashlib.pbkdf2_hmac("sha256", secret, b"salt", self.options.rounds)


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Digests))
