"""A request head: bytes to a request, by RFC 9112. Pure; raises what the client is to be told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from websockets.datastructures import Headers
from websockets.http11 import Request

MOST_HEADERS = 100

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\x09\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(rb"[\x21-\x7e]+")
_VERSION = re.compile(rb"HTTP/\d\.\d")


@dataclass(frozen=True)
class HeadLimits:
    """Bytes that a request may have (userver's options max_url_size and so on)."""

    target: int
    head: int
    body: int


class HttpError(Exception):
    """What is wrong with a request, as a status."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True)
class Head:
    """A parsed request head."""

    request: Request
    body_length: int
    keep_alive: bool
    upgrade: bool


def find_end(data: bytes | bytearray, limits: HeadLimits) -> int:
    """Return where the head ends (behind the empty line), or -1 if it is not there yet.

    Raises:
        HttpError: It is already too large (431, or 414 if the target alone is).
    """
    end = data.find(b"\r\n\r\n")
    if (end < 0 and len(data) > limits.head) or end > limits.head:
        line = data.find(b"\r\n")
        if line < 0 or line > limits.target:
            raise HttpError(HTTPStatus.REQUEST_URI_TOO_LONG, "the request target is too long")
        raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large")
    return end + 4 if end >= 0 else -1


def parse_head(data: bytes, limits: HeadLimits) -> Head:
    """Parse everything up to and with the empty line.

    Raises:
        HttpError: The head breaks a rule of RFC 9112.
    """
    lines = data[:-4].split(b"\r\n")
    method, target, version = _request_line(lines[0], limits)
    if len(lines) - 1 > MOST_HEADERS:
        raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers")
    headers = Headers()
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        # 5.1, 5.2: no space before the colon, no folded lines; bare CR and LF are no field values.
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise _bad("malformed header line")
        headers[name.decode("ascii")] = value.strip(b" \t").decode("latin-1")
    hosts = headers.get_all("Host")
    if version == "HTTP/1.1" and len(hosts) != 1:
        raise _bad("exactly one Host header is needed")
    connection = _tokens(headers, "Connection")
    upgrade = "upgrade" in connection and "websocket" in _tokens(headers, "Upgrade")
    length = _body_length(headers, limits)
    if upgrade and length:
        raise _bad("a WebSocket handshake has no body")
    keep_alive = "close" not in connection and version == "HTTP/1.1"
    return Head(Request(target, headers, method, version), length, keep_alive, upgrade)


def _request_line(line: bytes, limits: HeadLimits) -> tuple[str, str, str]:
    parts = line.split(b" ")
    if len(parts) != 3:
        raise _bad("malformed request line")
    method, target, version = parts
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise _bad("malformed request line")
    if len(target) > limits.target:
        raise HttpError(HTTPStatus.REQUEST_URI_TOO_LONG, "the request target is too long")
    if not _VERSION.fullmatch(version):
        raise _bad("malformed request line")
    if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise HttpError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
    return method.decode("ascii"), target.decode("ascii"), version.decode("ascii")


def _body_length(headers: Headers, limits: HeadLimits) -> int:
    if "Transfer-Encoding" in headers:
        # RFC 9112, 6.1: what we do not decode, we refuse, or a proxy and we might disagree.
        raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "transfer codings are not supported")
    lengths = headers.get_all("Content-Length")
    if not lengths:
        return 0
    if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0]):
        raise _bad("malformed Content-Length")
    length = int(lengths[0])
    if length > limits.body:
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
    return length


def _tokens(headers: Headers, name: str) -> set[str]:
    values = headers.get_all(name)
    return {token.strip().lower() for value in values for token in value.split(",")}


def _bad(text: str) -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, text)
