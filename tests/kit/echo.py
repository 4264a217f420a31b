"""An echo that can be broken, and clients that see whether all of its sockets are served."""

from __future__ import annotations

import asyncio

from mpchat.testsuite.clients import WebsocketClient

BREAKABLE = """
import os

from mpchat import WebsocketHandlerBase, minimal_server_component_list


class Echo(WebsocketHandlerBase):
    name = "websocket-handler"

    async def start(self):
        if os.path.exists("broken"):
            raise RuntimeError("the database is not there")

    async def handle(self, chat, context):
        async for message in chat:
            await chat.send(message)


def components():
    return minimal_server_component_list().append(Echo)
"""
"""A module whose workers do not start while there is a file ``broken``."""


async def assert_all_are_served(client: WebsocketClient) -> None:
    """Connect so often that every slot has had some of the connections."""

    async def talk() -> None:
        async with client.get("chat") as chat:
            await chat.send("hello")
            assert await chat.recv() == "hello"

    await asyncio.gather(*(talk() for _ in range(60)))
