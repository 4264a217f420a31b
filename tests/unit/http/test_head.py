"""Requests by the rules of their RFCs: from bytes to a status, without a service."""

from __future__ import annotations

import contextlib
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.http.errors import HttpError
from mpchat.http.head import find_end, parse_head, parse_request
from tests.fuzz.comparing import check_pieces
from tests.kit.bodies import BODIES
from tests.kit.deciding import LIMITS, status_of
from tests.kit.requests import CASES, MAX_HEADERS_SIZE, Case

ALL = [*CASES, *BODIES]


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_every_rule_of_a_request(case: Case) -> None:
    try:
        status, headers = status_of(case.data), dict(case.headers)
    except HttpError as error:
        status, headers = error.status, {**error.headers}
    assert status == case.status
    assert case.headers.items() <= headers.items()


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_pieces_make_no_difference(case: Case) -> None:
    if len(case.data) < 8000:
        check_pieces(case.data, case.status)


def test_names_of_rules_are_unique() -> None:
    assert len({case.name for case in ALL}) == len(ALL)


def test_a_query_as_it_was_typed_is_what_a_browser_would_have_sent() -> None:
    head = parse_head(
        'GET /chat?name="Zoë"&a=<b> HTTP/1.1\r\nHost: a\r\nX: "Zoë"\r\n\r\n'.encode(), LIMITS
    )
    encoded = "/chat?name=%22Zo%C3%AB%22&a=%3Cb%3E"
    assert head.request.path == parse_request(head.raw).path == encoded
    assert head.request.headers["X"] == parse_request(head.raw).headers["X"] == '"Zo\xc3\xab"'


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
