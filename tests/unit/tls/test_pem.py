from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.tls.pem import read_blocks

ONE = b"-----BEGIN A THING-----\nAAEC\n-----END A THING-----\n"


def test_blocks_come_in_their_order_with_text_between_them() -> None:
    two = ONE.replace(b"A THING", b"B").replace(b"\n", b"\r\n")
    found = list(read_blocks(b"Bag Attributes\n" + ONE + b"subject=x\n\n" + two))
    assert [(block.label, block.decode()) for block in found] == [
        ("A THING", b"\0\1\2"),
        ("B", b"\0\1\2"),
    ]


@pytest.mark.parametrize("cut", range(25, len(ONE) - 2, 5))
def test_a_file_that_is_half_written_is_told(cut: int) -> None:
    with pytest.raises(ValueError, match="the block A THING has no end; is the file half written"):
        list(read_blocks(ONE[:cut]))


def test_a_block_that_ends_as_another_one_has_no_end() -> None:
    with pytest.raises(ValueError, match="the block A THING has no end"):
        list(read_blocks(ONE.replace(b"END A", b"END B")))


@pytest.mark.parametrize("lines", [b"AAE", b"AA EC", b"????", b"A=AA"])
def test_lines_that_are_no_base64_are_an_error(lines: bytes) -> None:
    (block,) = read_blocks(ONE.replace(b"AAEC", lines))
    with pytest.raises(ValueError, match="the block A THING is damaged"):
        block.decode()


@given(st.binary(max_size=200))
def test_what_was_written_is_read(content: bytes) -> None:
    pem = b"-----BEGIN X-----\n%s-----END X-----" % base64.encodebytes(content)
    (block,) = read_blocks(pem)
    assert block.decode() == content


@given(st.lists(st.sampled_from([*ONE.splitlines(), b"", b"-----BEGIN -----", b"-----", b"x"])))
def test_any_lines_are_blocks_or_a_value_error(lines: list[bytes]) -> None:
    try:
        found = list(read_blocks(b"\n".join(lines)))
    except ValueError:
        return
    assert len(found) <= lines.count(b"-----END A THING-----")
