"""The service of rooms that is tortured: members know each other by the numbers of their visits."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs

from mpchat import (
    ComponentList,
    Context,
    Request,
    Response,
    RoomHandler,
    minimal_server_component_list,
)


class Members(RoomHandler):
    """Says which worker has a member, and lists it by the number that it gave."""

    async def handle_handshake(self, request: Request, context: Context) -> Response | None:
        context.response_headers.append(("Worker", str(os.getpid())))
        context.data["visit"] = int(parse_qs(request.path.partition("?")[2])["visit"][0])
        return None

    def member_info(self, room: str, context: Context) -> Any:
        return {"visit": context.data["visit"]}


def components() -> ComponentList:
    """Return the rooms."""
    return minimal_server_component_list().append(Members)
