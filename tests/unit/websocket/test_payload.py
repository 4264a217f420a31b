"""Payloads out of frames and into them: both forms do the same, for bytes and views alike."""

from __future__ import annotations

import sys
import tracemalloc
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.utils import apply_mask

from mpchat.websocket import payload as imported
from tests.mutants import mutated

IN_PYTHON = mutated(users=("mpchat.websocket.payload",))["mpchat.websocket.payload"]
FORMS = pytest.mark.parametrize("form", [imported, IN_PYTHON], ids=["imported", "in Python"])
SIZES = st.sampled_from((0, 1, 7, 8, 9, 125, 126, 127, 4095, 4096, 4097, 65_535, 65_536, 70_001))
TEXTS = st.one_of(
    st.text(max_size=40), st.builds(lambda size, end: "a" * size + end, SIZES, st.text(max_size=3))
)


@FORMS
@given(SIZES, st.binary(min_size=4, max_size=4), st.integers(0, 9), st.booleans())
def test_bytes_are_unmasked(
    form: ModuleType,
    size: int,
    mask: bytes,
    before: int,
    is_view: bool,
) -> None:
    masked = bytes((index * 7 + before) % 256 for index in range(size))
    data: bytes | memoryview = bytes(before) + mask + masked + b"behind"
    if is_view:
        data = memoryview(b"x" + bytes(data))[1:]
    found = form.unmask(data, before + 4, size)
    assert type(found) is bytes
    assert found == apply_mask(masked, mask)


@FORMS
@given(SIZES, st.binary(min_size=4, max_size=4), st.sampled_from((2, 4, 10)))
def test_a_frame_in_memory_of_its_own_is_unmasked(
    form: ModuleType, size: int, mask: bytes, header: int
) -> None:
    masked = bytes(index * 7 % 256 for index in range(size))
    data = form.frame_buffer(header + 4 + size)
    data[:] = bytes(header) + mask + masked
    # A part of it leaves the rest as it is.
    part = size // 2
    assert form.unmask(data, header + 4, part) == apply_mask(masked[:part], mask)
    found = form.unmask(data, header + 4, size)
    assert type(found) is bytes
    assert found == apply_mask(masked, mask)


@pytest.mark.compiled
def test_the_memory_of_a_frame_becomes_that_of_its_message() -> None:
    size = 1 << 20
    tracemalloc.start()
    try:
        data = imported.frame_buffer(14 + size)
        data[:] = bytes(14 + size)
        tracemalloc.reset_peak()
        message = imported.unmask(data, 14, size)
        assert tracemalloc.get_traced_memory()[1] < 1.5 * size
    finally:
        tracemalloc.stop()
    assert message == bytes(size)


@FORMS
@given(TEXTS, st.binary(min_size=4, max_size=4), st.booleans())
def test_text_is_unmasked(form: ModuleType, text: str, mask: bytes, is_view: bool) -> None:
    payload = text.encode(errors="surrogatepass")
    data: bytes | memoryview = mask + apply_mask(payload, mask)
    if is_view:
        data = memoryview(bytearray(data))
    try:
        expected = payload.decode()
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            form.unmask_text(data, 4, len(payload))
    else:
        found = form.unmask_text(data, 4, len(payload))
        assert type(found) is str
        assert found == expected
        assert found.isascii() == text.isascii()


@FORMS
def test_text_that_is_wrong_anywhere_is_refused(form: ModuleType) -> None:
    for size in (1, 7, 8, 9, 4096, 10_000):
        for place in {0, size // 2, size - 1}:
            payload = bytearray(b"a" * size)
            payload[place] = 0xFF
            with pytest.raises(UnicodeDecodeError):
                form.unmask_text(bytes(4) + payload, 4, size)


@FORMS
@given(SIZES, st.sampled_from((Opcode.TEXT, Opcode.BINARY, Opcode.CONT)), st.booleans())
def test_frames_are_those_of_websockets(
    form: ModuleType, size: int, opcode: Opcode, final: bool
) -> None:
    payload = bytes(index % 251 for index in range(size))
    expected = Frame(opcode, payload, fin=final).serialize(mask=False)
    assert form.framed(opcode | (0x80 if final else 0), payload) == expected


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("data", "start", "length"),
    [
        (b"abcdefgh", 4, 5),
        (b"abcdefgh", 3, 1),
        (b"abcdefgh", 9, 0),
        (b"abcdefgh", 4, -1),
        (b"abcdefgh", 4, sys.maxsize),
        (b"abcdefgh", sys.maxsize, sys.maxsize),
        (memoryview(b"abcdefgh")[:6], 4, 3),
    ],
)
def test_nothing_outside_of_the_data_is_read(
    data: bytes | memoryview, start: int, length: int
) -> None:
    for unmask in (imported.unmask, imported.unmask_text):
        with pytest.raises(IndexError):
            unmask(data, start, length)


@pytest.mark.compiled
def test_other_memory_than_bytes_in_a_row_is_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        imported.unmask(memoryview(b"abcdefghijkl")[::2], 4, 2)
