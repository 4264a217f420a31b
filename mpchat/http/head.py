"""A request head: bytes to a request, by RFC 9112. Pure; raises the error for the client."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from websockets.datastructures import Headers
from websockets.http11 import Request

from mpchat.http.authority import split_authority
from mpchat.http.errors import HttpError, bad_request
from mpchat.http.fields import Fields, parse_fields, split_list
from mpchat.http.framing import body_length, expects_continue
from mpchat.http.grammar import BARE_END, FIELD_LINES, TOKEN

MAX_HEADERS = 100

# Many clients send a query unencoded; it means the same as encoded by a browser.
_TARGET = re.compile(r"[\x21-\x3e\x40-\x7e]+(?:\?[\x21-\x7e\x80-\xff]*)?")
_TO_ENCODE = re.compile(r"[\"<>\x80-\xff]")
_EMPTY_LINES = re.compile(rb"(?:\r\n){0,4}")
_BEGINNING = re.compile(rb"(?:[\x21-\x7e][\x20-\x7e\x80-\xff]*)?\r?")
_BESIDE_TARGET = 64
"""Bytes that an incomplete request line may have in addition to its target."""
_VERSION = re.compile(r"HTTP/[0-9]\.[0-9]")


@dataclass(frozen=True)
class HeadLimits:
    """Largest parts of a request, in bytes (userver's options max_url_size and so on)."""

    target: int
    head: int


class Head(NamedTuple):
    """A parsed request head.

    Attributes:
        raw: Its bytes, with the query encoded as by a browser.
        body_length: Bytes of the body; None if it comes in chunks.
    """

    raw: bytes
    method: str
    target: str
    fields: Fields
    body_length: int | None
    keep_alive: bool
    upgrade: bool
    expects_continue: bool

    @property
    def request(self) -> Request:
        """The request as handlers see it, made anew each time."""
        return parse_request(self.raw)


def find_end(data: bytes | bytearray, limits: HeadLimits, seen: int = 0) -> int:
    """Return the end of the head (after its empty line), or -1 if the head is incomplete.

    The last call has already checked the first ``seen`` bytes: a head may trickle in.

    Raises:
        HttpError: The head is too large (431, or 414 if the target alone is), or malformed.
    """
    begin = _skip_empty_lines(data) if data.startswith(b"\r\n") else 0
    end = data.find(b"\r\n\r\n", max(begin, seen - 3))
    if (end < 0 and len(data) > limits.head) or end > limits.head:
        line = data.find(b"\r\n", begin)
        if line < 0 or line > limits.target:
            raise HttpError(HTTPStatus.REQUEST_URI_TOO_LONG, "the request target is too long")
        raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large")
    if end < 0:
        _check_beginning(data, begin, seen, limits)
        return -1
    return end + 4


def parse_head(data: bytes, limits: HeadLimits) -> Head:
    """Parse a head, including the empty line at its end.

    Raises:
        HttpError: The head breaks a rule of RFC 9112.
    """
    if data.startswith(b"\r\n"):
        data = data[_skip_empty_lines(data) :]
    # One character for each byte: bytes beyond ASCII are opaque (RFC 9110, 5.5).
    line, _, lines = data[:-2].decode("latin-1").partition("\r\n")
    method, target, version = _request_line(line, limits)
    if _TO_ENCODE.search(target) is not None:
        raw_target, target = target, _encode_query(target)
        data = data.replace(raw_target.encode("latin-1"), target.encode(), 1)
    if FIELD_LINES.fullmatch(lines) is None:
        raise bad_request("malformed header line")
    if lines.count("\n") > MAX_HEADERS:
        raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers")
    fields = parse_fields(lines)
    hosts = fields.get("host", ())
    # 3.2: at most one in any version; old clients of HTTP/1.0 send none.
    if len(hosts) != 1 and (hosts or version != "HTTP/1.0"):
        raise bad_request("a request needs exactly one Host header")
    if hosts and split_authority(hosts[0]) is None:
        raise bad_request("malformed Host")
    # RFC 9110, 7.8: HTTP/1.0 has no upgrade.
    upgrade = "upgrade" in fields and version != "HTTP/1.0"
    if upgrade and "websocket" in split_list(fields["upgrade"]):
        _refuse_body(fields)
    length = body_length(fields, version)
    keep_alive = version != "HTTP/1.0" and "close" not in split_list(fields.get("connection", []))
    expects = expects_continue(fields, version)
    return Head(data, method, target, fields, length, keep_alive, upgrade, expects)


def parse_request(data: bytes) -> Request:
    """Return the request of a head that ``parse_head`` has accepted."""
    line, _, lines = data[:-2].decode("latin-1").partition("\r\n")
    method, target, version = line.split(" ")
    headers = Headers()
    for field in lines.split("\r\n")[:-1]:
        name, _, value = field.partition(":")
        headers[name] = value.strip(" \t")
    return Request(target, headers, method, _known(version))


def _request_line(line: str, limits: HeadLimits) -> tuple[str, str, str]:
    parts = line.split(" ")
    if len(parts) != 3:
        raise bad_request("malformed request line")
    method, target, version = parts
    if (method != "GET" and not TOKEN.fullmatch(method)) or not _TARGET.fullmatch(target):
        raise bad_request("malformed request line")
    if len(target) > limits.target:
        raise HttpError(HTTPStatus.REQUEST_URI_TOO_LONG, "the request target is too long")
    if version == "HTTP/1.1":
        return method, target, version
    if not _VERSION.fullmatch(version):
        raise bad_request("malformed request line")
    if not version.startswith("HTTP/1."):
        raise HttpError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
    return method, target, _known(version)


def _known(version: str) -> str:
    """Return the version that applies: for an unknown minor one the highest known (RFC 9110, 6.2)."""
    return "HTTP/1.0" if version == "HTTP/1.0" else "HTTP/1.1"


def _encode_query(target: str) -> str:
    """Return a target with the forbidden characters of its query percent-encoded."""
    path, mark, query = target.partition("?")
    return path + mark + _TO_ENCODE.sub(lambda found: f"%{ord(found[0]):02X}", query)


def _refuse_body(fields: Fields) -> None:
    """Refuse a handshake with a body (RFC 6455, 4.1)."""
    lengths = fields.get("content-length", ())
    if "transfer-encoding" in fields or any(length.strip("0") for length in lengths):
        raise bad_request("a WebSocket handshake has no body")


def _check_beginning(data: bytes | bytearray, begin: int, seen: int, limits: HeadLimits) -> None:
    """Refuse at once bytes that cannot become a head: other protocols may never send an empty line."""
    end = data.find(b"\r\n", begin)
    if end < 0:
        if _BEGINNING.fullmatch(data, begin) is None:
            raise bad_request("malformed request line")
        if len(data) - begin > limits.target + _BESIDE_TARGET:
            raise HttpError(HTTPStatus.REQUEST_URI_TOO_LONG, "the request target is too long")
        return
    if end + 2 > seen:
        # First, as in a whole head, so that the reason of a refusal does not depend on the pieces.
        _request_line(data[begin:end].decode("latin-1"), limits)
    if BARE_END.search(data, max(begin, seen - 1)) is not None:
        raise bad_request("lines end with CR and LF")


def _skip_empty_lines(data: bytes | bytearray) -> int:
    """Return the start of the request line; a few empty lines before it are tolerated (2.2)."""
    found = _EMPTY_LINES.match(data)
    return found.end() if found is not None else 0
