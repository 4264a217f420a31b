"""A connection's state can be written out and read back between any two bytes of what its client sends.

The values have to pass ``marshal``, which takes plain ones only, and the connection that is made of them
has to go on as if nothing had happened: the same messages, and answers that are the same to the byte.
"""

from __future__ import annotations

import asyncio
import marshal
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from mpchat.scoreboard.counters import Counters
from mpchat.websocket.assembly import Message
from mpchat.websocket.budget import Budget
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.deflate import Agreement, Deflater, Inflater
from mpchat.websocket.parser import Parser
from mpchat.websocket.phases import MOVABLE, Phase
from mpchat.websocket.pings import Pings
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.state import State
from mpchat.websocket.thresholds import Thresholds
from tests.kit.frames import BINARY, CLOSE, CONT, FINAL, PING, PONG, TEXT, frame
from tests.unit.websocket.rig import Kept, Worker, echo, in_callback, on_uvloop, until

RSV1 = 0x40
LIMIT = 100_000
THRESHOLDS = Thresholds()
TEXT_MESSAGE = "päivää 😀 " * 3


def transcript(*, takeover: bool) -> bytes:
    """Return text, fragments, control frames within them, and compressed messages that refer back."""
    stream = zlib.compressobj(9, wbits=-12)

    def deflated(data: bytes) -> bytes:
        nonlocal stream
        found = (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
        if not takeover:
            stream = zlib.compressobj(9, wbits=-12)
        return found

    text = TEXT_MESSAGE.encode()
    one, two = deflated(b"again and again " * 6), deflated(("again " + TEXT_MESSAGE).encode())
    return b"".join(
        (
            frame(FINAL | TEXT, text),
            # In the middle of a letter.
            frame(TEXT, text[:2]),
            frame(FINAL | PING, b"?"),
            frame(CONT, b""),
            frame(CONT, text[2:20]),
            frame(FINAL | CONT, text[20:]),
            frame(FINAL | RSV1 | BINARY, one),
            frame(FINAL | PONG, b"unasked"),
            frame(RSV1 | TEXT, two[:5]),
            frame(CONT, two[5:6]),
            frame(FINAL | PING, b"!"),
            frame(FINAL | CONT, two[6:]),
            frame(FINAL | RSV1 | BINARY, deflated(b"again and again, " * 4)),
            frame(BINARY, b""),
            frame(FINAL | CONT, b"end"),
        )
    )


def agreed(*, takeover: bool) -> Agreement:
    return Agreement(12, 12, client_takeover=takeover, server_takeover=takeover)


def plain(state: State | None) -> Any:
    """Return what comes back of a state that was written somewhere."""
    assert state is not None
    return marshal.loads(marshal.dumps(state))


class Run:
    """A parser, of which another one may take the place at any time."""

    def __init__(self, agreement: Agreement | None, thresholds: Thresholds = THRESHOLDS) -> None:
        self._agreement = agreement
        self._thresholds = thresholds
        self.messages: list[Message] = []
        self.replies = b""
        self.parser = self._made()

    def _made(self) -> Parser:
        return Parser(
            LIMIT, Counters().traffic_of("test"), Budget(self._thresholds), self._agreement
        )

    def feed(self, data: bytes | memoryview, most: int = 64) -> bool:
        more = self.parser.feed(data, self.messages, most)
        self.replies += self.parser.take_control()[0]
        return more

    def move(self) -> bool:
        state = plain(self.parser.to_state())
        self.parser = self._made()
        return self.parser.continue_from(state)

    @property
    def counts(self) -> tuple[int, ...]:
        parser = self.parser
        return parser.received, parser.received_bytes, parser.fragments, parser.overhead


@pytest.mark.parametrize("takeover", [True, False])
def test_a_parser_moves_at_every_byte(takeover: bool) -> None:
    data, agreement = transcript(takeover=takeover), agreed(takeover=takeover)
    whole = Run(agreement)
    assert not whole.feed(data)
    assert len(whole.messages) == 6
    assert whole.messages[1] == TEXT_MESSAGE
    for place in range(len(data) + 1):
        run = Run(agreement)
        assert not run.feed(data[:place])
        if run.move():
            assert not run.feed(b"")
        assert not run.feed(data[place:])
        assert (run.messages, run.replies, run.counts) == (
            whole.messages,
            whole.replies,
            whole.counts,
        )


@pytest.mark.parametrize("takeover", [True, False])
def test_a_parser_that_moves_after_every_byte(takeover: bool) -> None:
    data, agreement = transcript(takeover=takeover), agreed(takeover=takeover)
    whole, run = Run(agreement), Run(agreement)
    whole.feed(data)
    for start, stop in pairwise(range(len(data) + 1)):
        run.feed(data[start:stop])
        if run.move():
            run.feed(b"")
    assert (run.messages, run.replies) == (whole.messages, whole.replies)


def test_what_was_read_and_not_parsed_moves() -> None:
    data, agreement = transcript(takeover=True), agreed(takeover=True)
    whole, run = Run(agreement), Run(agreement)
    whole.feed(data)
    more = run.feed(data, 1)
    while more:
        assert run.move()
        more = run.feed(b"", 1)
    assert (run.messages, run.replies, run.counts) == (whole.messages, whole.replies, whole.counts)


@pytest.mark.parametrize("behind", [b"", frame(FINAL | TEXT, b"x")])
def test_a_message_moves_while_it_is_being_inflated(behind: bytes) -> None:
    small = replace(THRESHOLDS, turn_work=1, inflate_step=100)
    stream = zlib.compressobj(9, wbits=-12)
    data = (stream.compress(bytes(range(250)) * 200) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    run = Run(agreed(takeover=True), small)
    more, moves = run.feed(frame(FINAL | RSV1 | BINARY, data) + behind), 0
    while more:
        # What was inflated before a move is inflated again: no progress is kept but the bytes.
        if moves < 3:
            moves += 1
            assert run.move()
        more = run.feed(b"")
    assert moves == 3
    assert run.messages == [bytes(range(250)) * 200, *(["x"] if behind else [])]


def test_a_large_frame_moves_out_of_its_buffer() -> None:
    payload = bytes(range(256)) * 256
    data = frame(FINAL | BINARY, payload)
    run = Run(None)
    run.parser.has_buffers = True
    run.feed(data[:10_000])
    assert run.parser.rest is not None
    run.parser.rest[:10_000] = data[10_000:20_000]
    run.feed(run.parser.add_rest(10_000))
    assert run.move()
    run.feed(data[20_000:])
    assert run.messages == [payload]


def test_a_pong_that_answers_a_ping_from_before_the_move_is_no_flood() -> None:
    run = Run(None)
    run.parser.pongs_due += 1
    run.move()
    run.feed(frame(FINAL | PONG, b""))
    assert run.parser.overhead == 0


def test_from_the_window_of_now_it_would_not_be_the_same() -> None:
    """This is why the window of the message's beginning is kept."""
    agreement = agreed(takeover=True)
    stream = zlib.compressobj(9, wbits=-12)
    first = (stream.compress(b"abcdefgh" * 4) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    second = (stream.compress(b"abcdefgh" * 40) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    inflater = Inflater(agreement, THRESHOLDS)
    inflater.begin(first, True)
    while inflater.is_busy:
        inflater.inflate(LIMIT)
    inflater.begin(second[:-1], False)
    while inflater.is_busy:
        inflater.inflate(LIMIT)
    assert inflater.replay is not None
    assert inflater.replay.window == b"abcdefgh" * 4
    assert inflater.window != inflater.replay.window


def test_a_long_compressed_message_waits_for_its_end() -> None:
    agreement = agreed(takeover=True)
    run = Run(agreement, replace(THRESHOLDS, max_replayed=200))
    stream = zlib.compressobj(9, wbits=-12)
    data = (stream.compress(bytes(range(250))) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    run.feed(frame(RSV1 | BINARY, data[:150]))
    assert run.parser.to_state() is None
    run.feed(frame(FINAL | CONT, data[150:]))
    run.move()
    assert run.messages == [bytes(range(250))]


def test_fragments_of_compressed_messages_cost_no_more_than_is_said() -> None:
    inflater = Inflater(agreed(takeover=True), THRESHOLDS)
    for _ in range(THRESHOLDS.max_replayed // 64):
        inflater.begin(b"", False)
        inflater.inflate(LIMIT)
    assert inflater.replay is not None
    inflater.begin(b"", False)
    assert inflater.replay is None


# Whole connections


async def turn() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


def moved(worker: Worker, protocol: WebSocketProtocol, handle: Any) -> WebSocketProtocol:
    """Go on with this connection in another object, on a transport of its own."""
    state = plain(protocol.to_state())
    return worker.continue_from(Kept(), handle, state)


def written(*protocols: WebSocketProtocol) -> bytes:
    transports: Any = [protocol.transport for protocol in protocols]
    return b"".join(part for transport in transports for part in transport.writes)


async def receive(protocol: WebSocketProtocol, data: bytes) -> None:
    if data:
        await in_callback(lambda: protocol.data_received(data))
    await turn()


@pytest.mark.parametrize("takeover", [True, False])
@on_uvloop
async def test_a_connection_moves_at_every_byte(worker: Worker, takeover: bool) -> None:
    # The answers are compressed as well.
    worker.go_by(replace(THRESHOLDS, min_deflated=8))
    data = transcript(takeover=takeover)
    worker.agreement = agreed(takeover=takeover)
    whole = worker.serve(Kept(), echo)
    await turn()
    await receive(whole, data)
    for place in range(0, len(data) + 1):
        first = worker.serve(Kept(), echo)
        await turn()
        await receive(first, data[:place])
        second = moved(worker, first, echo)
        await turn()
        await receive(second, data[place:])
        assert answers(written(first, second)) == answers(written(whole))
        assert second.outgoing.sent == whole.outgoing.sent
        assert second.outgoing.sent_bytes == whole.outgoing.sent_bytes
        assert second.since == first.since
        await receive(second, frame(FINAL | CLOSE, b"\x03\xe8"))
        assert written(second).endswith(b"\x88\x02\x03\xe8")


def answers(output: bytes) -> list[bytes]:
    """Return the frames of a server, in order of kind: a pong may overtake what was gathered."""
    found, start = [], 0
    while start < len(output):
        length = output[start + 1]
        head = 2
        if length == 126:
            length, head = int.from_bytes(output[start + 2 : start + 4]), 4
        stop = start + head + length
        found.append(output[start:stop])
        start = stop
    return sorted(found, key=lambda one: one[0] & 0x08)


async def never_take(_chat: WebSocketConnection) -> None:
    await asyncio.sleep(3600)


@on_uvloop
async def test_messages_that_nobody_has_taken_move(worker: Worker) -> None:
    first = worker.serve(Kept(), never_take)
    await turn()
    await receive(first, frame(FINAL | TEXT, b"a") * 3 + frame(FINAL | PING, b"?"))
    second = moved(worker, first, echo)
    await turn()
    assert written(second) == b"\x81\x01a" * 3
    assert second.outgoing.sent == 3


async def slowly(chat: WebSocketConnection) -> None:
    async for message in chat:
        await asyncio.sleep(3600)
        await chat.send(message)


def opened(_protocol: WebSocketProtocol) -> None:
    pass


def drained(protocol: WebSocketProtocol) -> None:
    protocol.drain(1012)


BEGIN: dict[Phase, Callable[[WebSocketProtocol], None]] = {
    Phase.OPEN: opened,
    Phase.DRAINING: drained,
    Phase.OWED: lambda protocol: protocol.data_received(frame(FINAL | CLOSE, b"\x03\xe8")),
    Phase.CLOSING: lambda protocol: protocol.close(1000, ""),
    Phase.LINGERING: lambda protocol: protocol.data_received(b"\x00\x00"),
    Phase.LOST: lambda protocol: protocol.connection_lost(None),
}


@pytest.mark.parametrize("phase", Phase)
@on_uvloop
async def test_every_phase_that_may_move_does_and_no_other(worker: Worker, phase: Phase) -> None:
    first = worker.serve(Kept(), slowly)
    await turn()
    if phase is not Phase.LINGERING:
        await receive(first, frame(FINAL | TEXT, b"a") + frame(FINAL | TEXT, b"b"))
    await in_callback(lambda: BEGIN[phase](first))
    assert first.phase is phase
    if phase not in MOVABLE:
        assert first.to_state() is None
        return
    second = moved(worker, first, echo)
    await turn()
    # It is nothing to the other worker that this one ends, and it has what was not taken here.
    assert second.phase is Phase.OPEN
    assert second.is_reading
    assert written(second) == b"\x81\x01b"
    await receive(second, frame(FINAL | TEXT, b"c"))
    assert written(second) == b"\x81\x01b\x81\x01c"


@on_uvloop
async def test_rates_and_unanswered_pings_move(worker: Worker) -> None:
    chats: list[WebSocketConnection] = []

    async def idle(chat: WebSocketConnection) -> None:
        chats.append(chat)
        await asyncio.sleep(3600)

    options = {"max-messages-per-second": 2}
    first = worker.serve(Kept(), idle, **options)
    await until(lambda: chats)
    await chats[0].ping()
    await receive(first, frame(FINAL | TEXT, b"a") * 2)
    second = worker.continue_from(Kept(), idle, plain(first.to_state()), **options)
    await until(lambda: len(chats) == 2)
    assert chats[1].unanswered_pings == 1
    assert second.phase is Phase.OPEN
    # The third within a second, as the other worker's two count.
    await receive(second, frame(FINAL | TEXT, b"a"))
    assert second.close_sent is not None
    assert second.close_sent.code == 1008
    assert worker.limits["max-messages-per-second"] == 1


@on_uvloop
async def test_what_is_noted_of_a_client_moves(worker: Worker) -> None:
    first = worker.serve(Kept(), echo)
    await turn()
    await receive(first, frame(FINAL | TEXT, b"abc")[:5])
    state = plain(first.to_state())
    assert state["limits"] is not None
    second = worker.continue_from(Kept(), echo, state)
    assert plain(second.to_state())["limits"] == state["limits"]


@on_uvloop
async def test_bytes_that_were_kept_for_the_next_turn_move(worker: Worker) -> None:
    first = worker.serve(Kept(), echo)
    await turn()

    def read_and_write_out() -> Any:
        worker.turn.left = 0
        first.data_received(frame(FINAL | TEXT, b"a")[:5])
        first.data_received(frame(FINAL | TEXT, b"a")[5:])
        return plain(first.to_state())

    state = await in_callback(read_and_write_out)
    second = worker.continue_from(Kept(), echo, state)
    await turn()
    assert written(second) == b"\x81\x01a"


@on_uvloop
async def test_answers_that_were_gathered_for_the_turns_end_move(worker: Worker) -> None:
    # Some are answered, some wait for the handler, some are not parsed.
    count = THRESHOLDS.max_frames + 2
    first = worker.serve(Kept(), echo)
    await turn()

    def read_and_write_out() -> Any:
        first.data_received(frame(FINAL | TEXT, b"abc") * count)
        return plain(first.to_state())

    state = await in_callback(read_and_write_out)
    assert state["outgoing"]["gathered_messages"] > 0
    assert state["messages"]
    assert state["parser"]["unparsed"]
    second = worker.continue_from(Kept(), echo, state)
    await until(lambda: second.outgoing.sent == count)
    assert second.outgoing.sent_bytes == 3 * count
    assert written(second) == b"\x81\x03abc" * count


@on_uvloop
async def test_a_pong_that_was_gathered_for_the_turns_end_moves(worker: Worker) -> None:
    first = worker.serve(Kept(), echo)
    await turn()

    def read_and_write_out() -> Any:
        first.data_received(frame(FINAL | PING, b"?"))
        return plain(first.to_state())

    second = worker.continue_from(Kept(), echo, await in_callback(read_and_write_out))
    await turn()
    assert written(second) == b"\x8a\x01?"


async def test_a_pong_that_the_handler_has_not_met_moves() -> None:
    loop = asyncio.get_running_loop()
    one, other = Pings(loop, loop.time), Pings(loop, loop.time)
    one.add(b"?")
    one.answer([(2, b"?")])
    other.continue_from(one.to_state())
    other.meet(2)
    assert other.unanswered == 1
    other.meet(3)
    assert other.unanswered == 0


def test_a_deflaters_window_is_all_that_its_messages_share() -> None:
    agreement = agreed(takeover=True)
    one, other = Deflater(agreement, THRESHOLDS), Deflater(agreement, THRESHOLDS)
    message = bytes(range(200)) * 2
    one.deflate(message)
    other.window = one.window
    assert one.deflate(message) == other.deflate(message)
