"""What a client is told that asks for what cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus


class HttpError(Exception):
    """What is wrong with a request, as a status, with headers that belong to it."""

    def __init__(
        self, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}
