"""Messages as the stream keeps them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.broker.nats.wire import OVERHEAD, Foreign, is_closed, pack_body, record_of
from mpchat.ipc import records
from mpchat.ipc.records import BINARY, CLOSED, KEYED, MESSAGE

ROOM = st.binary(min_size=1, max_size=128)
SEQUENCE = st.integers(1, (1 << 63) - 1)


@given(
    ROOM,
    st.sampled_from([MESSAGE, CLOSED]),
    st.sampled_from([0, BINARY, KEYED, BINARY | KEYED]),
    st.binary(max_size=255),
    st.binary(max_size=300),
    SEQUENCE,
    st.integers(0, 1 << 50),
)
def test_a_record_has_what_was_published(
    room: bytes, kind: int, flags: int, user: bytes, payload: bytes, seq: int, at: int
) -> None:
    body = pack_body(kind, flags, user, payload)
    assert len(body) == OVERHEAD + len(user) + len(payload)
    record = records.parse(record_of(room, body, seq, at))
    assert record == records.Record(
        kind, flags & BINARY, room, user, seq, 0, at, 0, 0, 0, b"", payload
    )
    assert is_closed(body) == (kind == CLOSED)


@given(ROOM, st.binary(max_size=40))
def test_any_bytes_are_a_record_or_foreign(room: bytes, body: bytes) -> None:
    try:
        record = records.parse(record_of(room, body, 5, 6))
    except Foreign:
        assert not is_closed(body) or len(body) < OVERHEAD + body[3] or body[2] & KEYED
        return
    assert pack_body(record.kind, record.flags, record.user, record.payload) == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x01\x01\x00",
        b"\x02\x01\x00\x00",
        b"\x01\x03\x00\x00",
        b"\x01\x01\x02\x00",
        b"\x01\x01\x00\x05user",
        b"hello, this is somebody else",
    ],
)
def test_what_others_publish_is_foreign(body: bytes) -> None:
    with pytest.raises(Foreign):
        record_of(b"a", body, 1, 1)
