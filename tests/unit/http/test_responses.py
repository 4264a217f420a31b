"""Responses as authors make them, and errors as clients get them."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from pydantic import BaseModel

from mpchat.http.errors import HttpError
from mpchat.http.responses import refusal, response


class Order(BaseModel):
    id: int
    at: datetime.date


@pytest.mark.parametrize(
    ("made", "content_type", "body"),
    [
        (response(200), None, b""),
        (response(200, "ü"), "text/plain; charset=utf-8", b"\xc3\xbc"),
        (response(200, b"\xff"), "application/octet-stream", b"\xff"),
        (response(200, b"<p>", content_type="text/html"), "text/html", b"<p>"),
        (response(200, json=None), "application/json", b"null"),
        (response(200, json={"ü": [1]}), "application/json", '{"ü": [1]}'.encode()),
        (
            response(200, json=[Order(id=1, at=datetime.date(2026, 1, 2))]),
            "application/json",
            b'[{"id": 1, "at": "2026-01-02"}]',
        ),
    ],
)
def test_response(made: Any, content_type: str | None, body: bytes) -> None:
    assert made.headers.get("Content-Type") == content_type
    assert made.body == body


def test_what_cannot_be_a_response() -> None:
    for value in (float("nan"), object(), {1.5: float("inf")}):
        with pytest.raises(ValueError, match=r"JSON|serialize"):
            response(200, json=value)
    with pytest.raises(TypeError, match="either"):
        response(200, "text", json={})
    with pytest.raises(ValueError, match="is not a valid HTTPStatus"):
        response(999)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad_request"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (409, "conflict"),
        (413, "payload_too_large"),
        (429, "too_many_requests"),
        (500, "internal_server_error"),
        (504, "gateway_timeout"),
    ],
)
def test_errors_have_the_codes_of_userver(status: int, code: str) -> None:
    """As GetFallbackServiceCode of its core/src/server/handlers/exceptions.cpp has them."""
    assert json.loads(refusal(HttpError(status, "why")).body) == {"code": code, "message": "why"}


def test_an_error_says_what_its_author_says() -> None:
    error = HttpError(409, "sold", {"Retry-After": "1"}, code="sold_out", details={"left": 0})
    answer = refusal(error)
    expected = {"code": "sold_out", "message": "sold", "details": {"left": 0}}
    assert (answer.status_code, answer.headers["Retry-After"]) == (409, "1")
    assert json.loads(answer.body) == expected
