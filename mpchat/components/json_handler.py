"""The base class of handlers whose requests and responses are JSON (userver's HttpHandlerJsonBase)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import TypeAdapter, ValidationError
from websockets.http11 import Response

from mpchat.components.component import Components
from mpchat.components.context import Context
from mpchat.components.handler_base import Method
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.http.errors import HttpError
from mpchat.http.request import HttpRequest
from mpchat.http.responses import response

_MAX_MISTAKES = 100
"""Mistakes that an answer names: each takes memory, and a body may hold hundreds of thousands."""
_SHOWN_PLACE = 100
"""Characters of a place, which may have names of the client's choice."""


class HttpHandlerJsonBase(HttpHandlerBase):
    """Base of handlers of JSON: derive, set ``name`` and ``body_type``, write ``handle_request_json``.

    A body that is not JSON or not of ``body_type`` gets 400, which names each mistake and its place; one
    that does not say it is JSON in Content-Type gets 415, so that no HTML form of another site can send
    it.

    Attributes:
        body_type: The type of the body, a pydantic model or any other type that pydantic can validate. By
            default any JSON; a request without a body then has None.
        needs_content_type: False: the body is read whatever its Content-Type, as in userver, whose own
            clients send none. Only for handlers that change nothing.
    """

    body_type: ClassVar[Any] = Any
    needs_content_type: ClassVar[bool] = True

    class Options(HttpHandlerBase.Options):
        """Options of an HTTP handler, with POST for a default."""

        method: Method = "POST"

    def __init__(self, options: Any, components: Components) -> None:
        """Override like Component's."""
        super().__init__(options, components)
        self._adapter: TypeAdapter[Any] = TypeAdapter(self.body_type)

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        """Read the body, and answer with what ``handle_request_json`` returns."""
        answer = await self.handle_request_json(request, self._read(request), context)
        return answer if isinstance(answer, Response) else response(200, json=answer)

    async def handle_request_json(self, request: HttpRequest, body: Any, context: Context) -> Any:
        """Answer one request; override always.

        ``body`` is a ``body_type``. Return what ``response`` takes for ``json``, or a response if its
        status is not 200. All else is as with ``handle_request``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define handle_request_json")

    def _read(self, request: HttpRequest) -> Any:
        try:
            if not request.body:
                return self._adapter.validate_python(None)
            is_json = _is_json(request.headers.get("Content-Type", ""))
            if self.needs_content_type and not is_json:
                raise HttpError(415, "expected a body with Content-Type: application/json")
            return self._adapter.validate_json(request.body)
        except ValidationError as error:
            raise _invalid(error) from error


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _invalid(error: ValidationError) -> HttpError:
    """Return a 400 that names the mistakes and repeats nothing of the body but names of fields."""
    count = error.error_count()
    if count > _MAX_MISTAKES:
        return HttpError(400, f"the body has {count} mistakes")
    mistakes = [
        {"place": ".".join(map(str, mistake["loc"]))[:_SHOWN_PLACE], "message": mistake["msg"]}
        for mistake in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    text = ": ".join(filter(None, mistakes[0].values()))
    if count > 1:
        text += f" (and {count - 1} more)"
    return HttpError(400, text, details={"errors": mistakes})
