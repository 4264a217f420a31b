"""A stream cut into frames."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.ipc.framing import Frames, MalformedFrame, split_frames


def frame(body: bytes) -> bytes:
    return struct.pack("<IB", 5 + len(body), 20) + body


@given(st.lists(st.binary(max_size=40), max_size=12), st.data())
def test_frames_are_the_same_however_the_stream_is_cut(
    bodies: list[bytes], data: st.DataObject
) -> None:
    sent = [frame(body) for body in bodies]
    stream = b"".join(sent)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10).map(sorted))
    frames, found, at = Frames(), [], 0
    for cut in [*cuts, len(stream)]:
        if cut > at:
            found += frames.cut(stream[at:cut])
            at = cut
    assert found == sent
    assert frames.held == 0


def test_a_frame_in_many_pieces_is_joined_once() -> None:
    whole = frame(bytes(1000)) + frame(b"next")
    frames = Frames()
    found = []
    for at in range(len(whole)):
        found += frames.cut(whole[at : at + 1])
    assert found == split_frames(whole)


@pytest.mark.parametrize("size", [0, 4, 101, 1 << 31])
def test_a_size_that_no_frame_has_is_refused_before_it_is_there(size: int) -> None:
    frames = Frames(limit=100)
    with pytest.raises(MalformedFrame, match=f"a frame of {size} bytes"):
        frames.cut(frame(b"fine") + struct.pack("<I", size))


def test_records_of_a_page_are_whole_frames() -> None:
    assert split_frames(b"") == []
    with pytest.raises(MalformedFrame, match="no whole frame"):
        split_frames(frame(b"whole") + frame(b"half")[:-1])
