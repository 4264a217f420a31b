"""The chat of Django Channels' tutorial, a group for each room, with Redis as its channel layer."""

from __future__ import annotations

import os

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from django.conf import settings

settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {
                # Its reads wait five seconds, which is what redis-py 8 waits for any answer: a consumer
                # that hears nothing for so long ends with its connection. So does one whose message
                # needs a connection to Redis when a hundred are in use.
                "hosts": [
                    {
                        "address": os.environ["REDIS"],
                        "socket_timeout": None,
                        "max_connections": 10_000,
                    }
                ],
                # By default messages are dropped without a word when a hundred wait for a process.
                "capacity": 100_000,
            },
        }
    }
)


class Chat(AsyncWebsocketConsumer):  # type: ignore[misc] # it has no types
    async def connect(self) -> None:
        self.group = self.scope["path"].rpartition("/")[2]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, close_code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = {"type": "chat.message", "message": text_data}
        await self.channel_layer.group_send(self.group, message)

    async def chat_message(self, event: dict[str, str]) -> None:
        await self.send(text_data=event["message"])


app = ProtocolTypeRouter({"websocket": Chat.as_asgi()})
