"""A plain HTTP request as its handler sees it, and the parts of any request that take decoding."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from websockets.datastructures import Headers
from websockets.http11 import Request

from mpchat.http.errors import bad_request
from mpchat.http.target import split_target


class Query(Mapping[str, str]):
    """The parameters of a query, decoded; of several with one name this is the first."""

    def __init__(self, text: str) -> None:
        self._values = parse_qs(text, keep_blank_values=True)

    def __getitem__(self, name: str) -> str:
        return self._values[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get_all(self, name: str) -> list[str]:
        """Return all values of a name, in the order sent."""
        return self._values.get(name, [])


class HttpRequest:
    """A plain HTTP request with its whole body; ``HttpRequest(request)`` reads a handshake likewise.

    Attributes:
        method: The method, in upper case.
        path: The path as the client sent it, without the query; ``context.path_params`` has the values
            of its ``{name}`` parts, decoded.
        headers: The headers, of ``websockets``: case does not matter, ``get_all`` returns repeated ones.
        body: The body, empty without one.
    """

    def __init__(self, request: Request, body: bytes = b"") -> None:
        self.method = request.method
        self.path, self._query = split_target(request.path)
        self.headers: Headers = request.headers
        self.body = body

    @cached_property
    def query(self) -> Query:
        """The parameters of the query, decoded: ``query["page"]``, ``query.get_all("tag")``."""
        return Query(self._query)

    @cached_property
    def cookies(self) -> dict[str, str]:
        """The cookies, as they were sent; of several with one name the first, whose path is longest."""
        return parse_cookies(self.headers)

    def json(self) -> Any:
        """Return the value of a JSON body.

        Raises:
            HttpError: 400, the body is not JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise bad_request(f"the body is not JSON: {error}") from error


def parse_cookies(headers: Headers) -> dict[str, str]:
    """Return the cookies of a request (RFC 6265, 4.2.1); what is no pair is left out."""
    cookies: dict[str, str] = {}
    for pair in ";".join(headers.get_all("Cookie")).split(";"):
        name, equals, value = pair.strip(" \t").partition("=")
        if equals:
            cookies.setdefault(name, value)
    return cookies
