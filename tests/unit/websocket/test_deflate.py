"""permessage-deflate against a strict zlib, against `websockets`, and RFC 7692's examples."""

from __future__ import annotations

import contextlib
import os
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from mpchat.websocket.deflate import (
    Agreement,
    CorruptData,
    Deflater,
    Inflater,
    TooLarge,
    longest_deflated,
)
from mpchat.websocket.thresholds import Thresholds

THRESHOLDS = Thresholds()
SMALLEST = THRESHOLDS.min_deflated
END = b"\x00\x00\xff\xff"
LIMIT = 1 << 20


def agreement(bits: int = 12, *, takeover: bool = True) -> Agreement:
    return Agreement(bits, bits, client_takeover=takeover, server_takeover=takeover)


def messages_of(seed: int) -> list[bytes]:
    """Messages of the kinds that matter: random, repeating at distances around a window's size, text."""
    chance = random.Random(seed)
    found = []
    for _ in range(12):
        size = chance.choice([0, 1, SMALLEST - 1, SMALLEST, 500, 3_000, 20_000, 70_000])
        block = chance.randbytes(chance.choice([1, 30, 500, 520, 1_000, 4_090, 4_100, 33_000]))
        if chance.random() < 0.5:
            block = block.hex().encode()
        found.append((block * (size // len(block) + 1))[:size])
    return found


# What we send


def strictly(stream: zlib._Decompress, data: bytes, step: int) -> bytes:
    """Inflate in small steps: then whatever refers further back than the window fails."""
    parts = []
    while True:
        parts.append(stream.decompress(data, step))
        data = stream.unconsumed_tail
        if len(parts[-1]) < step and not data:
            return b"".join(parts)


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", range(9, 16))
def test_what_we_send_fits_the_window(bits: int, takeover: bool) -> None:
    compressed = 0
    for seed in range(8):
        deflater = Deflater(agreement(bits, takeover=takeover), THRESHOLDS)
        client = zlib.decompressobj(-bits)
        for message in messages_of(seed):
            deflated = deflater.deflate(message)
            if deflated is None:
                continue
            compressed += 1
            assert len(deflated) < len(message)
            if not takeover:
                client = zlib.decompressobj(-bits)
            assert strictly(client, deflated + END, 100) == message
    assert compressed > 20


def test_with_takeover_a_repeated_message_is_sent_as_a_reference() -> None:
    message = random.Random(1).randbytes(1_000)
    deflater = Deflater(agreement(), THRESHOLDS)
    assert deflater.deflate(message) is None
    text = message.hex().encode()
    first, second = deflater.deflate(text), deflater.deflate(text)
    assert first is not None
    assert second is not None
    assert len(second) < 50 < len(first)


def test_small_messages_and_those_that_do_not_shrink_stay_as_they_are() -> None:
    deflater = Deflater(agreement(), THRESHOLDS)
    assert deflater.deflate(b"a" * (SMALLEST - 1)) is None
    assert deflater.deflate(os.urandom(2_000)) is None
    assert deflater.deflate(b"a" * SMALLEST) is not None


# What we receive


def inflated(inflater: Inflater, payload: bytes, final: bool, limit: int) -> bytes:
    """Return what a frame holds, inflated step by step."""
    inflater.begin(payload, final)
    whole = b""
    while inflater.is_busy:
        whole += inflater.inflate(limit - len(whole))
    return whole


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=3_000), st.integers(1, 40)), max_size=6),
    st.lists(st.integers(0, 60_000), max_size=5),
    st.integers(9, 15),
    st.booleans(),
)
def test_what_websockets_sends_is_what_we_read(
    pieces: list[tuple[bytes, int]], borders: list[int], bits: int, takeover: bool
) -> None:
    inflater = Inflater(agreement(bits, takeover=takeover), THRESHOLDS)
    writer = PerMessageDeflate(True, not takeover, 15, bits)
    for block, times in pieces:
        message = block * times
        edges = [0, *sorted(min(border, len(message)) for border in borders), len(message)]
        opcode, received = Opcode.BINARY, b""
        for index in range(len(edges) - 1):
            final = index == len(edges) - 2
            part = Frame(opcode, message[edges[index] : edges[index + 1]], final)
            sent = bytes(writer.encode(part).data)
            received += inflated(inflater, sent, final, LIMIT - len(received))
            opcode = Opcode.CONT
        assert received == message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans(), st.integers(0, 2_000))
def test_whatever_arrives_is_inflated_or_refused(data: bytes, final: bool, limit: int) -> None:
    inflater = Inflater(agreement(), THRESHOLDS)
    with contextlib.suppress(CorruptData, TooLarge):
        assert len(inflated(inflater, data, final, limit)) <= limit


HELLO = bytes.fromhex("f248cdc9c90700")
"""RFC 7692, section 7.2.3.1."""


def inflate_all(frames: list[tuple[bytes, bool]], *, takeover: bool = True) -> list[bytes]:
    inflater = Inflater(agreement(takeover=takeover), THRESHOLDS)
    return [inflated(inflater, payload, final, LIMIT) for payload, final in frames]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([(HELLO, True)], [b"Hello"]),
        ([(HELLO[:3], False), (HELLO[3:], True)], [b"He", b"llo"]),
        # 7.2.3.2: the second one refers to the first.
        ([(HELLO, True), (bytes.fromhex("f200110000"), True)], [b"Hello", b"Hello"]),
        # 7.2.3.3: a block that is not compressed.
        ([(bytes.fromhex("000500faff48656c6c6f00"), True)], [b"Hello"]),
        # 7.2.3.4: a final block, and the empty one that has to follow; both again, with a reference.
        ([(bytes.fromhex("f348cdc9c9070000"), True)] * 2, [b"Hello"] * 2),
        (
            [(bytes.fromhex("f348cdc9c9070000"), True), (b"\xf2\x00\x11\x00\x00", True)],
            [b"Hello"] * 2,
        ),
        # 7.2.3.5: two blocks in one message.
        ([(bytes.fromhex("f24805000000ffffcac9c90700"), True)], [b"Hello"]),
        # 7.2.3.6: an empty message; some send nothing at all.
        ([(b"\x00", True), (b"", True), (HELLO, True)], [b"", b"", b"Hello"]),
    ],
)
def test_examples_of_the_rfc(frames: list[tuple[bytes, bool]], expected: list[bytes]) -> None:
    assert inflate_all(frames) == expected


def test_the_smallest_window_can_be_read() -> None:
    assert inflated(Inflater(agreement(8), THRESHOLDS), HELLO, True, LIMIT) == b"Hello"


def test_a_reference_to_an_earlier_message_without_takeover_is_refused() -> None:
    with pytest.raises(CorruptData):
        inflate_all([(HELLO, True), (bytes.fromhex("f200110000"), True)], takeover=False)


def test_final_blocks_without_end_are_refused() -> None:
    final = bytes.fromhex("0300")
    assert inflate_all([(final * 15, True)]) == [b""]
    with pytest.raises(CorruptData):
        inflate_all([(final * 16, True)])


@pytest.mark.parametrize("size", [1_000, 70_000])
def test_the_limit_is_exact(size: int) -> None:
    writer = PerMessageDeflate(True, True, 15, 12)
    for message in (bytes(size), os.urandom(size)):
        sent = bytes(writer.encode(Frame(Opcode.BINARY, message)).data)
        assert len(sent) <= longest_deflated(size)
        assert inflated(Inflater(agreement(), THRESHOLDS), sent, True, size) == message
        with pytest.raises(TooLarge):
            inflated(Inflater(agreement(), THRESHOLDS), sent, True, size - 1)
    with pytest.raises(TooLarge):
        inflated(Inflater(agreement(), THRESHOLDS), HELLO, True, 0)


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    writer = zlib.compressobj(9, wbits=-15)
    bomb = writer.compress(bytes(300_000_000)) + writer.flush(zlib.Z_SYNC_FLUSH)
    inflater = Inflater(agreement(15), THRESHOLDS)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            inflated(inflater, bomb, True, 100_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000 + 2 * len(bomb)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("takeover", [True, False])
def test_between_messages_there_are_only_the_windows(takeover: bool) -> None:
    agreed = agreement(10, takeover=takeover)
    deflater, inflater = Deflater(agreed, THRESHOLDS), Inflater(agreed, THRESHOLDS)
    for size in (SMALLEST, 700, 700, 5_000, 300):
        deflated = deflater.deflate(b"x" * size)
        assert deflated is not None
        assert inflated(inflater, deflated, True, size) == b"x" * size
    assert inflater._stream is None
    assert not inflater._payload
    for end in (inflater, deflater):
        assert len(end.window) == (1 << 10 if takeover else 0)
