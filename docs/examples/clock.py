"""A component with a background task and its own dynamic variable, and a handler that uses it."""

from __future__ import annotations

import asyncio
import datetime
from typing import Annotated

from pydantic import Field

from mpchat import (
    Component,
    Components,
    Context,
    Key,
    WebSocketConnection,
    WebsocketHandlerBase,
    daemon_main,
    minimal_server_component_list,
)

INTERVAL = Key("CLOCK_INTERVAL_MS", Annotated[int, Field(ge=1)], default=1000)


class Clock(Component):
    """Reads the time at the interval of the dynamic config; every worker has one."""

    name = "clock"
    dynamic_config_keys = (INTERVAL,)

    async def start(self) -> None:
        # If the task fails, the log says why, and it runs again. It is cancelled at the end.
        self.spawn(self._run, restart=True)

    async def _run(self) -> None:
        while True:
            self.now = datetime.datetime.now().isoformat()
            await asyncio.sleep(self.config[INTERVAL] / 1000)


class Times(WebsocketHandlerBase):
    """Answers every message with the time that the clock has read last."""

    name = "handler-times"

    def __init__(self, options: WebsocketHandlerBase.Options, components: Components) -> None:
        super().__init__(options, components)
        self._clock = components.find(Clock)

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:
        async for _question in chat:
            await chat.send(self._clock.now)


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Clock).append(Times))
