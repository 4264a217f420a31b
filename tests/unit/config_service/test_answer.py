"""What counts as an answer of a config service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.config.types import MAX_DEPTH
from mpchat.config_service.answer import Answer, parse
from mpchat.config_service.errors import UpdateFailed

NAMES = st.text(max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS.filter(lambda value: value not in {float("inf"), float("-inf")}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def refusal_of(content: bytes) -> str:
    with pytest.raises(UpdateFailed) as caught:
        parse(content)
    assert not caught.value.again
    return str(caught.value)


@given(
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.text(),
    st.none() | st.lists(NAMES),
    st.none() | st.lists(NAMES),
)
def test_what_is_sent_is_read(
    configs: dict[str, Any],
    updated_at: str,
    removed: list[str] | None,
    disabled: list[str] | None,
) -> None:
    fields = {
        "configs": configs,
        "updated_at": updated_at,
        "removed": removed,
        "kill_switches_disabled": disabled,
        "another": 1,
    }
    expected = Answer(configs, updated_at, tuple(removed or ()), tuple(disabled or ()))
    assert parse(json.dumps(fields).encode()) == expected


def test_names_may_be_left_out() -> None:
    assert parse(b'{"configs": {}, "updated_at": "t"}') == Answer({}, "t")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the answer is not JSON: Expecting value at line 1, column 1"),
        (b"<html>", "the answer is not JSON: Expecting value at line 1, column 1"),
        (b'{"configs": {}', "the answer is not JSON: Expecting ',' delimiter at line 1, column 15"),
        (b"\xff", "the answer is not UTF-8 at byte 0"),
        ("\ufeff{}".encode(), "the answer is not JSON: Unexpected UTF-8 BOM"),
        (b"[]", "the answer: expected an object, got []"),
        (b"null", "the answer: expected an object, got null"),
        (b"{}", "the answer's configs: expected an object of variables, got null"),
        (b'{"configs": null}', "the answer's configs: expected an object of variables, got null"),
        (b'{"configs": []}', "the answer's configs: expected an object of variables, got []"),
        (b'{"configs": {}}', "the answer's updated_at: expected a string, got null"),
        (
            b'{"configs": {}, "updated_at": 1}',
            "the answer's updated_at: expected a string, got 1",
        ),
        (
            b'{"configs": {}, "updated_at": "", "removed": {}}',
            "the answer's removed: expected a list of names, got {}",
        ),
        (
            b'{"configs": {}, "updated_at": "", "removed": ["A", 1]}',
            "the answer's removed[1]: expected a name, got 1",
        ),
        (
            b'{"configs": {}, "updated_at": "", "kill_switches_disabled": "A"}',
            'the answer\'s kill_switches_disabled: expected a list of names, got "A"',
        ),
        (b'{"configs": {"A": 1, "A": 2}}', 'the answer is not JSON: "A" is given twice'),
        (b'{"configs": {"A": NaN}}', "the answer is not JSON: NaN is not a number of JSON"),
        (b'{"configs": {"A": 1e999}}', "the answer is not JSON: 1e999 is too large a number"),
        (b'{"configs": ' + b"9" * 5000 + b"}", "the answer is not JSON: Exceeds the limit"),
        (b"[" * 100_000, "the answer is nested too deeply: 100 levels are allowed"),
        (b'"' + b"x" * 100 + b'"', 'the answer: expected an object, got "' + "x" * 58 + "…"),
        (b'"line\\nbreak"', 'the answer: expected an object, got "line\\nbreak"'),
    ],
)
def test_mistakes_name_their_place(content: bytes, reason: str) -> None:
    assert refusal_of(content).startswith(reason)


def test_levels_are_counted() -> None:
    def nested(levels: int) -> bytes:
        inner = "[" * (levels - 2) + "]" * (levels - 2)
        return f'{{"updated_at": "", "configs": {{"A": {inner}}}}}'.encode()

    assert parse(nested(MAX_DEPTH))
    assert "nested too deeply" in refusal_of(nested(MAX_DEPTH + 1))


@given(st.binary() | st.text().map(str.encode) | VALUES.map(lambda v: json.dumps(v).encode()))
def test_anything_else_is_refused_in_words(content: bytes) -> None:
    assert refusal_of(content).startswith("the answer")
