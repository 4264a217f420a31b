"""handler-ping: says whether the service takes new connections (userver's component of that name)."""

from __future__ import annotations

from websockets.http11 import Response

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

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        return response(200)
