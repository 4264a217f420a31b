"""The handler of ``/rooms/{room}``, and which rooms there are."""

from __future__ import annotations

from mpchat import Access, Context, Key, RoomHandler

ROOMS = Key("CHAT_ROOMS", list[str], default=["lobby"])
"""The rooms that there are; more may come while the service runs. Who is in one stays."""


class Chat(RoomHandler):
    """What a member of a room says all members hear, itself included, in every worker."""

    dynamic_config_keys = (ROOMS,)

    async def authorize(self, room: str, context: Context) -> Access:
        return Access.JOIN if room in context.config[ROOMS] else Access.UNKNOWN
