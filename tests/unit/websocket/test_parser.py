"""The parser against frames made by websockets, cut anywhere, and against each rule of RFC 6455."""

from __future__ import annotations

import itertools
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import CloseCode, Frame, Opcode

from mpchat.scoreboard.counters import Counters
from mpchat.websocket.assembly import Message
from mpchat.websocket.budget import FRAME, Budget
from mpchat.websocket.deflate import Agreement
from mpchat.websocket.parser import Parser
from mpchat.websocket.thresholds import Thresholds
from tests.kit import frames

MASK = b"\x01\x02\x03\x04"


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def scan(
    stream: bytes, cuts: list[int] | None = None, limit: int = 1000, budget: int = 3
) -> tuple[Parser, list[Message]]:
    parser = Parser(limit, Counters().traffic_of("test"), Budget(Thresholds()))
    messages: list[Message] = []
    borders = sorted({0, len(stream), *(cut for cut in cuts or [] if cut < len(stream))})
    for start, stop in itertools.pairwise(borders):
        more = parser.feed(stream[start:stop], messages, budget)
        while more:
            more = parser.feed(b"", messages, budget)
    return parser, list(messages)


MESSAGES = st.lists(
    st.tuples(
        st.one_of(st.text(max_size=70), st.binary(max_size=300)),
        st.lists(st.integers(0, 300), max_size=3),
        st.booleans(),
    ),
    max_size=6,
)


def encode(message: Message, borders: list[int], with_ping: bool) -> bytes:
    data = message.encode() if isinstance(message, str) else message
    opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
    edges = [0, *sorted(min(border, len(data)) for border in borders), len(data)]
    stream = b""
    for index in range(len(edges) - 1):
        fin = index == len(edges) - 2
        stream += frame(opcode, data[edges[index] : edges[index + 1]], fin=fin)
        opcode = Opcode.CONT
        if with_ping:
            stream += frame(Opcode.PING, b"p")
    return stream


@settings(max_examples=400, deadline=None)
@given(MESSAGES, st.lists(st.integers(1, 2000), max_size=12), st.integers(1, 9))
def test_messages_survive_any_fragmentation_and_any_cut(
    messages: list[tuple[Message, list[int], bool]], cuts: list[int], budget: int
) -> None:
    stream = b"".join(encode(*parts) for parts in messages)
    parser, found = scan(stream, cuts, budget=budget)
    assert found == [message for message, _borders, _ping in messages]
    assert parser.failure is None
    pings = sum(len(borders) + 1 for _message, borders, ping in messages if ping)
    assert parser.take_control()[0] == b"\x8a\x01p" * pings


def test_every_cut_of_one_stream() -> None:
    stream = encode("päivää", [3], True) + encode(b"x" * 130, [], False)
    for cut in range(1, len(stream)):
        assert scan(stream, [cut])[1] == ["päivää", b"x" * 130]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        pytest.param(b"\x81\x01a", CloseCode.PROTOCOL_ERROR, id="5.1 unmasked"),
        pytest.param(b"\xc1\x81" + MASK + b"a", CloseCode.PROTOCOL_ERROR, id="5.2 RSV1"),
        pytest.param(b"\x83\x81" + MASK + b"a", CloseCode.PROTOCOL_ERROR, id="5.2 opcode 3"),
        pytest.param(b"\x8b\x80" + MASK, CloseCode.PROTOCOL_ERROR, id="5.2 opcode 11"),
        pytest.param(frame(Opcode.CONT, b"a"), CloseCode.PROTOCOL_ERROR, id="5.4 continuation"),
        pytest.param(
            frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.TEXT, b"b"),
            CloseCode.PROTOCOL_ERROR,
            id="5.4 new message inside",
        ),
        pytest.param(b"\x09\x80" + MASK, CloseCode.PROTOCOL_ERROR, id="5.5 fragmented ping"),
        pytest.param(b"\x89\xfe\x00\x7e" + MASK, CloseCode.PROTOCOL_ERROR, id="5.5 long ping"),
        pytest.param(frame(Opcode.CLOSE, b"\x03"), CloseCode.PROTOCOL_ERROR, id="5.5.1 one byte"),
        pytest.param(
            frame(Opcode.CLOSE, b"\x03\xee"), CloseCode.PROTOCOL_ERROR, id="7.4.1 code 1006"
        ),
        pytest.param(
            frame(Opcode.CLOSE, b"\x03\xe8\xff"), CloseCode.INVALID_DATA, id="5.5.1 reason"
        ),
        pytest.param(frame(Opcode.TEXT, b"\xff"), CloseCode.INVALID_DATA, id="8.1 text"),
        pytest.param(
            frame(Opcode.TEXT, b"\xc3", fin=False) + frame(Opcode.CONT, b"a"),
            CloseCode.INVALID_DATA,
            id="8.1 across fragments",
        ),
        pytest.param(
            frame(Opcode.TEXT, b"\xc3", fin=False) + frame(Opcode.CONT, b""),
            CloseCode.INVALID_DATA,
            id="8.1 cut at the end",
        ),
        pytest.param(b"\x82\xfe\x03\xe9" + MASK, CloseCode.MESSAGE_TOO_BIG, id="7.4.1 size"),
        pytest.param(
            b"\xb9\xff" + bytes(2) + b"x" * 6 + MASK, CloseCode.MESSAGE_TOO_BIG, id="and RSV"
        ),
        pytest.param(
            frame(Opcode.BINARY, b"x" * 600, fin=False) + b"\x80\xfe\x01\x91",
            CloseCode.MESSAGE_TOO_BIG,
            id="7.4.1 size over fragments",
        ),
    ],
)
def test_a_mistake_ends_with_its_code(stream: bytes, code: CloseCode) -> None:
    good = frame(Opcode.TEXT, b"before")
    parser, messages = scan(good + stream + MASK + frame(Opcode.TEXT, b"after"))
    assert messages == ["before"]
    assert parser.failure is not None
    assert parser.failure.close.code == code
    assert parser.failure.frame[:1] == b"\x88"


@pytest.mark.parametrize("opening", [b"\x81\x7e", b"\x83\xff", b"\x8b\xfe"])
def test_a_frame_is_refused_at_its_second_byte(opening: bytes) -> None:
    parser, _messages = scan(opening)
    assert parser.failure is not None
    assert parser.failure.close.code == CloseCode.PROTOCOL_ERROR


def test_text_that_trickles_is_refused_at_its_first_wrong_byte() -> None:
    good = "päivää ✓".encode()
    for bad in (b"\xff", b"\xc3\x28", b"\xf4\x90"):
        stream = frames.frame(0x81, good + bad + b"more")
        parser = Parser(1000, Counters().traffic_of("test"), Budget(Thresholds()))
        over = []
        for place in range(len(stream) - 1):
            parser.feed(stream[place : place + 1], [], 1)
            over.append(parser.is_over)
        assert over.index(True) == 6 + len(good) + len(bad) - 1
        assert parser.failure is not None
        assert parser.failure.close.code == CloseCode.INVALID_DATA


def test_a_frame_that_trickles_takes_little_more_than_what_has_come() -> None:
    size = 200_000
    stream = frame(Opcode.BINARY, bytes(size))
    parser = Parser(size, Counters().traffic_of("test"), Budget(Thresholds()))
    messages: list[Message] = []
    tracemalloc.start()
    try:
        for place in range(0, len(stream) - 2, 2):
            assert not parser.feed(stream[place : place + 2], messages, 1)
        held, _most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * size
    parser.feed(stream[-2:], messages, 1)
    assert messages == [bytes(size)]


def test_close_is_answered_with_its_own_code() -> None:
    parser, messages = scan(frame(Opcode.CLOSE, b"\x0f\xa1why") + frame(Opcode.TEXT, b"late"))
    assert messages == []
    assert parser.closed is not None
    assert (parser.closed.close.code, parser.closed.close.reason) == (4001, "why")
    assert parser.closed.frame == b"\x88\x05\x0f\xa1why"


def test_the_budget_bounds_what_is_parsed() -> None:
    parser = Parser(1000, Counters().traffic_of("test"), Budget(Thresholds()))
    messages: list[Message] = []
    assert parser.feed(frame(Opcode.TEXT, b"a") * 100, messages, 10)
    assert len(messages) == 10


COMPRESSED = 0xC2
"""The first byte of a binary message in one frame, with RSV1."""


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-12)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_bombs_wait_in_the_backlog_until_their_messages_are_taken() -> None:
    limit, count = 60_000, 100
    agreement = Agreement(12, 12, client_takeover=True, server_takeover=True)
    budget = Budget(Thresholds())
    parser = Parser(limit, Counters().traffic_of("test"), budget, agreement)
    messages: list[Message] = []
    bombs = frames.frame(COMPRESSED, deflated(bytes(limit))) * count
    assert len(bombs) < 10_000
    more = parser.feed(bombs, messages, 1_000)
    taken = 0
    while more:
        assert sum(map(len, messages)) < 256 * 1024 + limit
        taken += len(messages)
        messages.clear()
        budget.renew()
        more = parser.feed(b"", messages, 1_000)
    assert taken + len(messages) == parser.received == count
    # So it is if they come one by one to a handler that does not come back.
    messages.clear()
    budget.renew()
    bomb = frames.frame(COMPRESSED, deflated(bytes(limit)))
    assert [parser.feed(bomb, messages, 1_000) for _ in range(5)] == [False] * 4 + [True]


def test_what_nobody_wants_any_more_is_not_inflated() -> None:
    agreement = Agreement(12, 12, client_takeover=True, server_takeover=True)
    budget = Budget(Thresholds())
    parser = Parser(1_000, Counters().traffic_of("test"), budget, agreement)
    first = frames.frame(0x41, deflated("päivää".encode())[:5])
    parser.drop(frames.frame(COMPRESSED, b"no data") + first, 10)
    assert not parser.is_over
    parser.drop(frames.frame(0x80, b"") + frame(Opcode.CLOSE, b"\x03\xe8"), 10)
    assert parser.failure is None
    assert parser.closed is not None
    assert parser.received == 0
    assert budget.done == 4 * FRAME
