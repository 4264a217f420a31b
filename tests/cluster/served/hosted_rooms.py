"""The service of one host: each handshake's answer says which host it is, and which code serves there."""

from __future__ import annotations

import os

from mpchat import (
    ComponentList,
    Context,
    Ping,
    Request,
    Response,
    RoomHandler,
    minimal_server_component_list,
)

CODE = 1
"""What an update changes"""


class Members(RoomHandler):
    """Members that note their host and its code, as if they were a worker's number."""

    async def handle_handshake(self, request: Request, context: Context) -> Response | None:
        where = int(os.environ["CLUSTER_HOST"]) * 100 + CODE
        context.response_headers.append(("Worker", str(where)))
        return None


def components() -> ComponentList:
    """Return the rooms."""
    return minimal_server_component_list().append(Members).append(Ping)
