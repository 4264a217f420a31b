"""The base class of handlers of plain HTTP (userver's HttpHandlerBase)."""

from __future__ import annotations

from websockets.http11 import Response

from mpchat.components.context import Context
from mpchat.components.handler_base import HandlerBase
from mpchat.http.request import HttpRequest


class HttpHandlerBase(HandlerBase):
    """Base of handlers of plain HTTP: derive, set ``name``, write ``handle_request``.

    One object serves all requests of its worker at once, each in its own task. Several handlers may have
    one path, each with other methods.
    """

    class Options(HandlerBase.Options):
        """Options of an HTTP handler; derive to add your own, or another default of ``method``."""

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        """Answer one request; override always.

        The body has arrived when this is called. If GET is allowed, HEAD requests come, too; the server
        leaves out the body of their answer. It answers OPTIONS itself unless ``method`` has it.

        An HttpError is answered as it says; after any other exception, which is logged with its
        traceback, the client gets 500. If the connection breaks, the task is cancelled; a client that has
        only closed its own side may still read, and gets its answer.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define handle_request")
