"""A request as operators see it."""

from __future__ import annotations

from typing import Any

import pytest

from mpchat.server.inspection import InFlight, describe_request
from tests.kit.raw import handshake


def row(head: bytes, body: bytes = b"", *, with_body: bool = False) -> dict[str, Any]:
    return describe_request(InFlight(head, body, 7.5), 10.0, 1_764_374_402.5, with_body=with_body)


def test_a_row_has_userver_s_fields() -> None:
    head = b"PUT /a%20b?x=%C3%BC&y&x=2 HTTP/1.0\r\nHost: a:1\r\nX-Y: 1\r\nX-Y: 2\r\n\r\n"
    assert row(head, b"\xffz", with_body=True) == {
        "method": "PUT",
        "url": "/a%20b?x=%C3%BC&y&x=2",
        "http_version": "1.0",
        "request_path": "/a%20b",
        "handling-duration-ms": 2500,
        "start-handling-timestamp": "Sat, 29 Nov 2025 00:00:00 UTC",
        "host": "a:1",
        "args": {"x": ["ü", "2"], "y": [""]},
        "headers": {"Host": "a:1", "X-Y": "1, 2"},
        "request-body": "\ufffdz",
    }


@pytest.mark.parametrize(
    ("query", "shown", "args"),
    [
        ("ticket=s3cret", "ticket=***", {"ticket": ["***"]}),
        ("a=1%262&Token=s3cret", "a=1%262&Token=***", {"a": ["1&2"], "Token": ["***"]}),
        ("access_token=s3cret&b", "access_token=***&b=", {"access_token": ["***"], "b": [""]}),
    ],
)
def test_arguments_that_are_credentials_are_hidden(
    query: str, shown: str, args: dict[str, list[str]]
) -> None:
    found = row(f"GET /chat?{query} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert (found["url"], found["args"]) == (f"/chat?{shown}", args)


def test_headers_that_are_credentials_are_hidden() -> None:
    lines = ["Authorization: Basic s3cret", "COOKIE: s3cret", "Proxy-Authorization: s3cret"]
    lines += ["Sec-WebSocket-Protocol: chat,base64url.bearer.s3cret", "X: shown"]
    found = row(handshake("/chat", *lines))
    assert "s3cret" not in str(found)
    assert found["headers"]["Sec-WebSocket-Protocol"] == "chat, base64url.bearer.***"
    assert found["headers"]["X"] == "shown"


def test_a_long_body_is_cut() -> None:
    body = b"x" * 70_000
    found = row(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", body, with_body=True)["request-body"]
    assert found == "x" * 65_536 + " … (cut, of 70000 bytes)"
