"""The chat room of Django Channels' tutorial, with Redis as its channel layer."""

from __future__ import annotations

import os

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from django.conf import settings

settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # Its reads wait five seconds, which is what redis-py 8 waits for any answer: a consumer that
            # hears nothing for so long ends with its connection.
            "CONFIG": {"hosts": [{"address": os.environ["REDIS"], "socket_timeout": None}]},
        }
    }
)


class Chat(AsyncWebsocketConsumer):  # type: ignore[misc] # it has no types
    async def connect(self) -> None:
        await self.channel_layer.group_add("bench", self.channel_name)
        await self.accept()

    async def disconnect(self, close_code: int) -> None:
        await self.channel_layer.group_discard("bench", self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.channel_layer.group_send("bench", {"type": "chat.message", "message": text_data})

    async def chat_message(self, event: dict[str, str]) -> None:
        await self.send(text_data=event["message"])


app = ProtocolTypeRouter({"websocket": Chat.as_asgi()})
