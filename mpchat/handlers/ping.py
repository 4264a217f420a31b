"""handler-ping: whether the service takes new connections (userver's component of that name)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from websockets.http11 import Request, Response

from mpchat.components.handler_base import HandlerBase, HandlerOptions, response
from mpchat.config.types import OptionsModel


class PingOptions(HandlerOptions):
    """Where the ping is answered."""

    path: Annotated[str, Field(pattern="^/", description="Where the ping is answered")] = "/ping"


class Ping(HandlerBase):
    """200 with an empty body; while the service stops the server answers 503 for it."""

    name = "handler-ping"
    Options: ClassVar[type[OptionsModel]] = PingOptions

    async def handle_non_websocket_request(self, request: Request, context: Any) -> Response:
        return response(200)
