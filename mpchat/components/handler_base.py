"""A handler: a component that answers requests on a path."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from mpchat.components.component import Component


def _check_path(path: str) -> str:
    if not path.startswith("/"):
        raise PydanticCustomError("path", "expected a path that begins with /")
    return path


def _check_method(method: str) -> str:
    names = [name.strip() for name in method.split(",")]
    if not all(name.isalpha() and name.isupper() for name in names):
        raise PydanticCustomError("method", "expected methods such as GET or GET,POST")
    return method


class HandlerBase(Component):
    """Base of handlers."""

    class Options(Component.Options):
        """Options that every handler has."""

        path: Annotated[
            str, AfterValidator(_check_path), Field(description="Exact, or with {name} segments")
        ]
        method: Annotated[
            str,
            AfterValidator(_check_method),
            Field(description="Allowed methods, comma separated"),
        ] = "GET"
        task_processor: Annotated[
            str | None, Field(description="The listener's; another one is an error")
        ] = None

    async def handle_non_websocket_request(self, request: Request, context: Any) -> Response:
        """Override to answer plain HTTP requests on the handler's path; 400 by default."""
        return response(400, "this path speaks WebSocket: send an Upgrade request\n")


def response(status: int, text: str = "") -> Response:
    """Return a plain text response; the server adds the framing headers."""
    headers = Headers()
    if text:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    return Response(status, HTTPStatus(status).phrase, headers, text.encode())
