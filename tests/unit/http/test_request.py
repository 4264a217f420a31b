"""A plain request as its handler sees it."""

from __future__ import annotations

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from mpchat.http.errors import HttpError
from mpchat.http.request import HttpRequest


def request(path: str = "/", body: bytes = b"", **headers: str) -> HttpRequest:
    return HttpRequest(Request(path, Headers(headers), "POST"), body)


@pytest.mark.parametrize(
    ("target", "path", "first"),
    [
        ("/a", "/a", None),
        ("/a%2Fb?x=1", "/a%2Fb", "1"),
        ("/a?x=1&x=2&y", "/a", "1"),
        ("/a?x=%C3%BC+b?", "/a", "ü b?"),
        ("/a?x", "/a", ""),
        ("/a?x=%ff", "/a", "\ufffd"),
        ("http://host:80/a?x=1", "/a", "1"),
        ("http://host?x=1", "/", "1"),
        ("*", "*", None),
    ],
)
def test_path_and_query(target: str, path: str, first: str | None) -> None:
    found = request(target)
    assert found.path == path
    assert found.query.get("x") == first


def test_a_query_is_a_mapping_with_all_values() -> None:
    query = request("/?tag=a&tag=b&page=2").query
    assert dict(query) == {"tag": "a", "page": "2"}
    assert query.get_all("tag") == ["a", "b"]
    assert query.get_all("other") == []
    assert len(query) == 2
    assert "other" not in query


@pytest.mark.parametrize(
    ("lines", "cookies"),
    [
        ([], {}),
        (["a=b"], {"a": "b"}),
        (["a=b; c=d=e;f="], {"a": "b", "c": "d=e", "f": ""}),
        (["a=first; a=second"], {"a": "first"}),
        (["a=b", "c=d"], {"a": "b", "c": "d"}),
        (['nothing; ;=x; a="b"'], {"": "x", "a": '"b"'}),
    ],
)
def test_cookies(lines: list[str], cookies: dict[str, str]) -> None:
    headers = Headers([("Cookie", line) for line in lines])
    assert HttpRequest(Request("/", headers)).cookies == cookies


def test_json() -> None:
    assert request(body=b'{"a": [1, null]}').json() == {"a": [1, None]}
    for body in (b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000):
        with pytest.raises(HttpError, match="the body is not JSON: ") as caught:
            request(body=body).json()
        assert caught.value.status == 400
