"""The socket of the poll."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from votes import Votes

from mpchat import Components, Context, WebSocketConnection, WebsocketHandlerBase


class Results(WebsocketHandlerBase):
    """Sends the votes at once, and whenever they have changed."""

    name = "handler-results"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._votes = components.find(Votes)

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._tell(chat))
            async for _message in chat:
                pass
            # The client has left.
            telling.cancel()

    async def _tell(self, chat: WebSocketConnection) -> None:
        async for counts in self._votes.changes():
            await chat.send(json.dumps(counts))
