"""Keys from a terminal's bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.cli.top.keys import Keys

KEYS = {
    b"\x1b[A": "up",
    b"\x1bOB": "down",
    b"\x1b[C": "right",
    b"\x1bOD": "left",
    b"\x1b[H": "home",
    b"\x1bOF": "end",
    b"\x1b[1~": "home",
    b"\x1b[5~": "pageup",
    b"\x1b[6~": "pagedown",
    b"\r": "enter",
    b"\n": "enter",
    b"q": "q",
    b"?": "?",
}


@pytest.mark.parametrize(("data", "name"), KEYS.items())
def test_a_key_has_its_name(data: bytes, name: str) -> None:
    keys = Keys()
    assert keys.feed(data) == [name]
    assert not keys.are_waiting


def test_esc_is_a_key_once_nothing_has_followed() -> None:
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.are_waiting
    assert keys.flush() == ["escape"]
    assert keys.flush() == []


def test_esc_and_another_key_in_one_read_are_two() -> None:
    assert Keys().feed(b"\x1bq") == ["escape", "q"]
    assert Keys().feed(b"\x1b\x1b[A") == ["escape", "up"]


@pytest.mark.parametrize("data", [b"\x1b[15~", b"\x1b[1;5A", b"\x1b[?1;2c", b"\x00", "é".encode()])
def test_what_is_no_key_of_ours_is_none(data: bytes) -> None:
    keys = Keys()
    assert keys.feed(data + b"q") == ["q"]


@given(st.lists(st.sampled_from([*KEYS])), st.data())
def test_reads_may_end_anywhere(typed: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(typed)
    cuts = data.draw(st.lists(st.integers(0, len(whole))).map(sorted))
    keys = Keys()
    found: list[str] = []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += keys.feed(whole[begin:end])
    assert found == [KEYS[one] for one in typed]


@given(st.lists(st.binary()))
def test_nothing_that_is_typed_ends_it_and_esc_is_always_found(reads: list[bytes]) -> None:
    keys = Keys()
    for read in reads:
        keys.feed(read)
    keys.flush()
    keys.feed(b"\x1b")
    assert keys.flush() == ["escape"]
