"""Requests by the rules of their RFCs: from bytes to a status, without a service."""

from __future__ import annotations

import contextlib
import re
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import Request
from websockets.server import ServerProtocol

from mpchat.components.handler_base import HandlerBase
from mpchat.server.errors import HttpError
from mpchat.server.head import HeadLimits, find_end, parse_head
from mpchat.server.routes import Routes
from mpchat.server.upgrade import check_handshake, check_origin
from mpchat.websocket.handler import WebsocketHandlerBase
from tests.requests import CASES, MAX_HEADERS_SIZE, MAX_URL_SIZE, Case

LIMITS = HeadLimits(target=MAX_URL_SIZE, head=MAX_HEADERS_SIZE, body=1024 * 1024)


def routes() -> Routes:
    found: list[HandlerBase] = []
    served = {
        "/chat": WebsocketHandlerBase,
        "/rooms/{room}": WebsocketHandlerBase,
        "/ping": HandlerBase,
    }
    for path, cls in served.items():
        components: Any = SimpleNamespace(name_under_construction=path, snapshot=None)
        found.append(cls(cls.Options.model_validate({"path": path}), components))
    return Routes(found)


ROUTES = routes()


def status_of(data: bytes) -> int:
    """Decide about a request as the server does, without one."""
    data = re.sub(rb"^(\r\n)*", b"", data)
    end = find_end(data, LIMITS)
    assert end >= 0, "more is waited for"
    head = parse_head(data[:end], LIMITS)
    request = head.request
    route = ROUTES.find(request.method, request.path)
    if not isinstance(route.handler, WebsocketHandlerBase):
        return 200
    if not head.upgrade:
        return 400
    judged = check_handshake(request.headers)
    check_origin(request.headers, route.authority or request.headers["Host"], None)
    answer = ServerProtocol().accept(Request(request.path, judged, request.method))
    return answer.status_code


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_rule_of_a_request(case: Case) -> None:
    try:
        status, headers = status_of(case.data), case.headers
    except HttpError as error:
        status, headers = error.status, {**error.headers}
    assert status == case.status
    assert case.headers.items() <= headers.items()


def test_names_of_rules_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_upgrade_as_firefox_asks_for_it() -> None:
    head = parse_head(
        b"GET /chat?x HTTP/1.1\r\nHost: a\r\n"
        b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
        LIMITS,
    )
    assert (head.upgrade, head.keep_alive, head.request.path) == (True, True, "/chat?x")


def test_too_large_before_its_end() -> None:
    with pytest.raises(HttpError) as caught:
        find_end(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * MAX_HEADERS_SIZE, LIMITS)
    assert caught.value.status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    assert find_end(b"GET / HTTP/1.1\r\n", LIMITS) == -1


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_an_http_error(data: bytes) -> None:
    with contextlib.suppress(HttpError):
        parse_head(data + b"\r\n\r\n", LIMITS)
