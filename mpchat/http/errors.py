"""An error that becomes an HTTP response."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

# Where userver's name is not that of Python's enum, which differs between versions.
_CODES = {413: "payload_too_large", 414: "uri_too_long", 422: "unprocessable_content"}


class HttpError(Exception):
    """Raise it in a handler's hook to answer with an error: ``raise HttpError(404, "no such order")``.

    The client gets userver's JSON, ``{"code": "not_found", "message": "no such order"}``. The log gets no
    traceback, but the text is in the request's line, so it should repeat nothing secret.

    Attributes:
        status: The response's status.
        text: The message for the client.
        headers: Headers of the response.
        code: The code for programs, by default the status's name.
        details: More for programs, added to the JSON if not empty.
    """

    def __init__(
        self,
        status: int,
        text: str,
        headers: Mapping[str, str] | None = None,
        *,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = HTTPStatus(status)
        self.text = text
        self.headers = headers or {}
        self.code = code or _CODES.get(status) or self.status.name.lower()
        self.details = details or {}


def bad_request(text: str) -> HttpError:
    """Return a 400."""
    return HttpError(HTTPStatus.BAD_REQUEST, text)
