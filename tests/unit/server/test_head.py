"""Request heads by the rules of RFC 9112, and routes."""

from __future__ import annotations

import contextlib
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.server.head import HeadLimits, HttpError, find_end, parse_head

HOST = b"Host: a\r\n"
LIMITS = HeadLimits(target=8192, head=32768, body=65536)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n", 400, id="3.2 no Host"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + HOST, 400, id="3.2 two Hosts"),
        pytest.param(b"GET  / HTTP/1.1\r\n" + HOST, 400, id="3 two spaces"),
        pytest.param(b"G@T / HTTP/1.1\r\n" + HOST, 400, id="3.1 method"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : a\r\n", 400, id="5.1 space before the colon"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n", 400, id="5.2 obs-fold"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"X: a\nY: b\r\n", 400, id="2.2 bare LF"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n", 400, id="2.2 bare CR"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"X: \0\r\n", 400, id="5.5 NUL"),
        pytest.param(b"PRI * HTTP/2.0\r\n", 505, id="2.3 HTTP/2 preface"),
        pytest.param(b"\x16\x03\x01\x02\x00\r\n", 400, id="3 TLS bytes"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 101, 431, id="6585 5 many"),
        pytest.param(b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + HOST, 414, id="3 target"),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n", 501, id="6.1"
        ),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n", 400, id="6.2"),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999\r\n", 413, id="6.2 big"
        ),
    ],
)
def test_a_broken_rule_has_its_status(head: bytes, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        parse_head(head + b"\r\n", LIMITS)
    assert caught.value.status == status


def test_upgrade_as_firefox_asks_for_it() -> None:
    head = parse_head(
        b"GET /chat?x HTTP/1.1\r\nHost: a\r\n"
        b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
        LIMITS,
    )
    assert (head.upgrade, head.keep_alive, head.request.path) == (True, True, "/chat?x")


def test_too_large_before_its_end() -> None:
    with pytest.raises(HttpError) as caught:
        find_end(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 40_000, LIMITS)
    assert caught.value.status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    assert find_end(b"GET / HTTP/1.1\r\n", LIMITS) == -1


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_an_http_error(data: bytes) -> None:
    with contextlib.suppress(HttpError):
        parse_head(data + b"\r\n\r\n", LIMITS)
