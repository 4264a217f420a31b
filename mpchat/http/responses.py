"""Responses as bytes, by RFC 9110 and 9112."""

from __future__ import annotations

import email.utils
import json as json_format
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from pydantic_core import to_jsonable_python
from websockets.datastructures import Headers
from websockets.http11 import Response

from mpchat.http.errors import HttpError
from mpchat.http.fields import split_list

_BODILESS = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}


class Dates:
    """The value of Date, made once a second.

    ``clock`` returns seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._second = 0
        self._text = ""

    def now(self) -> str:
        """Return the time as an HTTP-date (RFC 9110, 5.6.7)."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._text = email.utils.formatdate(second, usegmt=True)
        return self._text


def serialise(
    answer: Response,
    date: str,
    *,
    close: bool,
    head_only: bool,
    more: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Return a response with the headers that all need; those of ``more`` override its own."""
    # RFC 9110, 15.3.5 and 15.4.5: these have neither body nor length.
    bodiless = answer.status_code in _BODILESS
    body = b"" if bodiless else bytes(answer.body or b"")
    headers = Headers(answer.headers.raw_items())
    for name, value in more:
        headers.pop(name, None)
        headers[name] = value
    headers.setdefault("Date", date)
    if not bodiless:
        headers.setdefault("Content-Length", str(len(body)))
    if close:
        options = split_list(headers.get_all("Connection"))
        if "Connection" in headers:
            del headers["Connection"]
        # An author's keep-alive would be wrong; Upgrade belongs to a 426.
        kept = [option for option in options if option not in {"keep-alive", "close"}]
        headers["Connection"] = ", ".join([*kept, "close"])
    head = Response(answer.status_code, answer.reason_phrase, headers, b"").serialize()
    return head if head_only else head + body


def switching(
    date: str, accepting: Iterable[tuple[str, str]], more: Iterable[tuple[str, str]]
) -> bytes:
    """Return the response that accepts a handshake (RFC 6455, 4.2.2), with the headers ``more``.

    Raises:
        InvalidHeaderValue: A value of ``more``, which a client may have chosen, contains a line end.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in accepting])
    head = (
        "HTTP/1.1 101 Switching Protocols\r\n"
        f"Date: {date}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{lines}"
    ).encode()
    return head + (Headers(more).serialize() if more else b"\r\n")


def refusal(error: HttpError) -> Response:
    """Return the response for an error, with the fields of userver's errors."""
    body: dict[str, Any] = {"code": error.code, "message": error.text}
    if error.details:
        body["details"] = error.details
    answer = response(error.status, json=body)
    answer.headers.update(error.headers)
    return answer


def response(
    status: int, body: str | bytes = b"", *, json: Any = ..., content_type: str | None = None
) -> Response:
    """Return a response; add headers by ``answer.headers[name] = value``.

    The body is text, which goes out in UTF-8, or bytes, or ``json``: any value that JSON has, or
    pydantic can make one of, such as a model or a date. ``content_type`` is by default that of plain
    text, bytes or JSON. The server adds Date, Content-Length and, if needed, Connection. One response
    may answer any number of requests.

    Raises:
        ValueError: HTTP has no such status, or a value cannot be JSON, for example NaN.
        TypeError: Both ``body`` and ``json`` are given.
    """
    headers = Headers()
    usual = "text/plain; charset=utf-8" if isinstance(body, str) else "application/octet-stream"
    # None is a value of JSON.
    if json is not ...:
        if body:
            raise TypeError("a response has either a body or json")
        usual = "application/json"
        body = json_format.dumps(
            json, default=to_jsonable_python, ensure_ascii=False, allow_nan=False
        )
    if body:
        headers["Content-Type"] = content_type or usual
    data = body.encode() if isinstance(body, str) else body
    return Response(status, HTTPStatus(status).phrase, headers, data)
