"""An error that becomes an HTTP response."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus


class HttpError(Exception):
    """A mistake in a request, as a status with its text and headers."""

    def __init__(
        self, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}


def bad_request(text: str) -> HttpError:
    """Return a 400."""
    return HttpError(HTTPStatus.BAD_REQUEST, text)
