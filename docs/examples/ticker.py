"""Full duplex: one task sends ticks while the other receives the pause between them."""

from __future__ import annotations

import asyncio
import itertools

from mpchat import (
    Context,
    WebSocketConnection,
    WebsocketHandlerBase,
    daemon_main,
    minimal_server_component_list,
)


class Ticker(WebsocketHandlerBase):
    """Sends 1, 2, 3 and so on; a client's message is the pause between two of them, in seconds."""

    name = "handler-ticker"

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        context.data["pause"] = 1.0
        # Tasks of one connection belong in a TaskGroup: an exception in either ends both and is logged.
        async with asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(self._tick(chat, context))
            await self._listen(chat, context)
            ticking.cancel()

    async def _tick(self, chat: WebSocketConnection, context: Context) -> None:
        for number in itertools.count(1):
            await chat.send(str(number))
            await asyncio.sleep(context.data["pause"])

    async def _listen(self, chat: WebSocketConnection, context: Context) -> None:
        async for message in chat:
            try:
                context.data["pause"] = min(max(0.01, float(message)), 60.0)
            except ValueError:
                await chat.close(1008, "expected a number of seconds")
                return


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Ticker))
