"""A stored record: what is packed is parsed, and each field lies where the table says."""

from __future__ import annotations

import re
import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.ipc import records
from mpchat.ipc.records import BINARY, CLOSED, KEYED, MESSAGE, Record

NUMBER = st.integers(0, 2**64 - 1)
NAME = st.binary(max_size=records.LONGEST_NAME)
PARTS = st.builds(
    Record,
    st.sampled_from((MESSAGE, CLOSED)),
    st.sampled_from((0, BINARY)),
    NAME,
    NAME,
    *[NUMBER] * 6,
    st.sampled_from((b"", bytes(range(16)))),
    st.binary(max_size=300),
)


def pack(record: Record, crc: int = 0) -> tuple[bytes, int]:
    return records.pack(
        record.kind,
        record.flags,
        record.room,
        record.user,
        record.key,
        record.payload,
        record.offset,
        record.prev,
        record.at,
        record.stamp,
        record.incarnation,
        record.counter,
        crc,
    )


@given(PARTS, st.integers(0, 2**32 - 1))
def test_what_is_packed_is_parsed(record: Record, crc: int) -> None:
    if record.key:
        record = record._replace(flags=record.flags | KEYED)
    packed, continued = pack(record, crc)
    assert records.parse(packed) == record
    assert continued == crc32(packed[:-4], crc) == int.from_bytes(packed[-4:], "little")
    assert len(packed) == int.from_bytes(packed[:4], "little")
    assert len(packed) == records.size_of(record.room, record.user, record.key, record.payload)
    assert records.offset_of(packed) == record.offset
    assert records.at_of(packed) == record.at


def test_the_table_is_the_layout() -> None:
    rows = re.findall(r"^ +(\d+)  (\w+) +u(\d+)  ", str(records.__doc__), re.MULTILINE)
    assert [name for _at, name, _bits in rows][5:] == [
        *("offset", "prev", "at", "stamp", "incarnation", "counter")
    ]
    codes = {"8": "B", "32": "I", "64": "Q"}
    assert "<" + "".join(codes[bits] for *_row, bits in rows) == records.HEADER.format
    for index, (at, *_row) in enumerate(rows):
        assert struct.calcsize(records.HEADER.format[: index + 1]) == int(at)


def test_a_name_that_is_too_long_is_refused() -> None:
    record = Record(MESSAGE, 0, bytes(256), b"", 0, 0, 0, 0, 0, 0, b"", b"")
    with pytest.raises(struct.error):
        pack(record)
