"""handler-ping: says whether the service takes new connections (userver's component of that name)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from websockets.http11 import Response

from mpchat.components.component import Components
from mpchat.components.context import Context
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.http.request import HttpRequest
from mpchat.http.responses import response


class Ping(HttpHandlerBase):
    """Answers 200 with an empty body; 503 while the service stops, so that a balancer goes elsewhere.

    Its section is ``handler-ping``: ``minimal_server_component_list().append(Ping)``.
    """

    name = "handler-ping"
    section_optional = True

    class Options(HttpHandlerBase.Options):
        """Options of handler-ping."""

        needs_stream: Annotated[
            bool,
            Field(
                alias="needs-stream",
                description="Whether it answers 503 while rooms of the engine `nats` have no stream. By "
                "default it does not: all hosts lose the stream together, and no other one is better",
            ),
        ] = False

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._host = components.host

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        return response(503 if self.options.needs_stream and self._host.has_lost_stream() else 200)
