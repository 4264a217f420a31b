"""Request targets and what of them may be shown."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.http.errors import HttpError
from mpchat.http.target import normalise, parse_target, shown_target


@pytest.mark.parametrize(
    ("target", "path", "authority"),
    [
        ("/chat?a=/../b", "/chat", None),
        ("/a%2fb", "/a%2Fb", None),
        ("/%7Ea", "/~a", None),
        ("/a/b/../c/./d", "/a/c/d", None),
        ("/a/b/..", "/a/", None),
        ("/a/.", "/a/", None),
        ("/..", "/", None),
        ("/a//../b", "/a/b", None),
        ("/.a/..b", "/.a/..b", None),
        ("/%252e%252e", "/%252e%252e", None),
        ("http://Host:1/a?b", "/a", "Host:1"),
        ("https://[::1]", "/", "[::1]"),
    ],
)
def test_paths_have_one_form(target: str, path: str, authority: str | None) -> None:
    parsed = parse_target("GET", target)
    assert (parsed.path, parsed.authority) == (path, authority)


@given(st.lists(st.sampled_from(["/", ".", "..", "%2e", "%2F", "a", "%41", "//", "~"])))
def test_the_form_is_final_and_has_no_dots(parts: list[str]) -> None:
    path = normalise("/" + "".join(parts))
    assert normalise(path) == path
    assert path.startswith("/")
    assert not {".", ".."} & set(path.split("/"))


@given(
    st.sampled_from(["GET", "OPTIONS", "CONNECT"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126)),
)
def test_any_text_is_a_target_or_an_http_error(method: str, text: str) -> None:
    with contextlib.suppress(HttpError):
        path = parse_target(method, text).path
        assert path.startswith("/") or path == "*"


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/chat?token=secret", "/chat"),
        ("/chat#secret", "/chat"),
        ("http://name:secret@host/chat?secret", "/chat"),
        ("http://name:secret@host", "/"),
        ("name:secret@host:80", "***"),
        ("secret", "***"),
    ],
)
def test_nothing_secret_is_shown(target: str, shown: str) -> None:
    assert shown_target(target) == shown
