"""ACK as a worker reads it: mpchat/rooms/stream.py takes the numbers from the same places."""

from __future__ import annotations

from mpchat.ipc import rooms as kinds
from mpchat.ipc.answering import ACK_BYTES, ACK_COUNTER, ACK_OFFSET, ACK_TIME
from mpchat.ipc.numbers import u64_at


def parse_ack(frame: bytes) -> tuple[int, int, int, int]:
    """Return flags, counter, offset and time."""
    assert (len(frame), frame[4]) == (ACK_BYTES, kinds.ACK)
    return frame[5], u64_at(frame, ACK_COUNTER), u64_at(frame, ACK_OFFSET), u64_at(frame, ACK_TIME)
