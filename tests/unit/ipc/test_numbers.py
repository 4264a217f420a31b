"""Numbers within bytes: the same in both forms, and never beyond the bytes."""

from __future__ import annotations

import pytest

from mpchat.ipc.numbers import u32_at, u64_at

DATA = bytes(range(1, 13))


def test_a_number_is_read_wherever_it_is() -> None:
    for at in range(9):
        assert u32_at(DATA, at) == int.from_bytes(DATA[at : at + 4], "little")
    for at in range(5):
        assert u64_at(DATA, at) == int.from_bytes(DATA[at : at + 8], "little")
    assert u32_at(b"\xff" * 4, 0) == 2**32 - 1
    assert u64_at(b"\xff" * 8, 0) == 2**64 - 1


@pytest.mark.parametrize("at", [-1, -4, -8, 9, 12, 2**62])
def test_bytes_that_are_not_there_are_not_read(at: int) -> None:
    with pytest.raises(IndexError):
        u32_at(DATA, at)
    with pytest.raises(IndexError):
        u64_at(DATA, at)
    for read in (u32_at, u64_at):
        with pytest.raises(IndexError):
            read(b"", 0)
