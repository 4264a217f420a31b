"""Header fields as the server reads them are those that a handler sees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.http.errors import HttpError
from mpchat.http.fields import MAX_ELEMENTS, split_list
from mpchat.http.head import parse_head
from tests.kit.deciding import LIMITS

NAMES = st.sampled_from(["Host-", "host-", "X", "x", "Cookie", "ACCEPT"])
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_both_forms_have_the_same_values_in_the_same_order(lines: list[tuple[str, str]]) -> None:
    text = "GET / HTTP/1.1\r\nHost: a\r\n" + "".join(f"{n}: {v}\t\r\n" for n, v in lines) + "\r\n"
    head = parse_head(text.encode("latin-1"), LIMITS)
    headers = head.request.headers
    assert set(head.fields) == {name.lower() for name in headers}
    for name, values in head.fields.items():
        assert values == headers.get_all(name)


@pytest.mark.parametrize(
    "text", ["websocket", "Upgrade", "keep-alive, Upgrade", "keep-alive", "close"]
)
def test_what_is_split_once_is_split_like_all_else(text: str) -> None:
    assert split_list([text]) == split_list([f" {text},"])
    assert split_list([text, text]) == split_list([text]) * 2


def test_empty_elements_do_not_count() -> None:
    assert split_list([",, a ,", "", "B;c=D"]) == ("a", "b;c=d")


def test_a_list_has_a_limit() -> None:
    assert len(split_list([",".join("a" * MAX_ELEMENTS)])) == MAX_ELEMENTS
    with pytest.raises(HttpError):
        split_list([",".join("a" * (MAX_ELEMENTS + 1))])


@pytest.mark.parametrize(
    ("sent", "seen"), [("1.0", "HTTP/1.0"), ("1.1", "HTTP/1.1"), ("1.7", "HTTP/1.1")]
)
def test_a_handler_sees_the_version_that_applies(sent: str, seen: str) -> None:
    head = parse_head(f"GET /a HTTP/{sent}\r\nHost: a\r\n\r\n".encode(), LIMITS)
    assert (head.request.method, head.request.path, head.request.protocol) == ("GET", "/a", seen)
