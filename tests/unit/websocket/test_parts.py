"""Parts of a message are put together as they came, in little more memory than the message takes."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from websockets.speedups import apply_mask

from mpchat.websocket.parts import Parts

MASK = b"\x01\x02\x03\x04"


@pytest.mark.parametrize("text", [True, False])
def test_nothing_is_lost_or_moved(text: bool) -> None:
    data = b"".join(b"%d," % number for number in range(5000))
    parts: Parts[Any] = Parts("" if text else b"", 256)
    pieces = [data[start : start + start % 4] for start in range(0, len(data))]
    for piece in pieces:
        parts.add(piece.decode() if text else piece)
    whole = b"".join(pieces)
    assert parts.join() == (whole.decode() if text else whole)


def test_a_message_of_single_bytes_takes_little_more_than_its_bytes() -> None:
    size = 1_000_000
    tracemalloc.start()
    try:
        parts = Parts(b"", 256)
        for _ in range(size):
            # Unmasked, since of a literal there would be one object.
            parts.add(apply_mask(b"x", MASK))
            parts.add(b"")
        held, _most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * size
    assert len(parts.join()) == size
