"""What many connections are sent: one piece, in one order, within the budget; nobody waits for one."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.websocket.batch import Batch, Frame, fragments
from mpchat.websocket.broadcast import Audience, Hall, Item, Parting, Recipient
from mpchat.websocket.budget import DELIVERY
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.deflate import Agreement, Deflater
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.thresholds import Thresholds
from tests.kit.frames import FINAL, TEXT, frame
from tests.unit.websocket.rig import Kept, Turns, Worker, echo, on_uvloop, until

THRESHOLDS = Thresholds()
MIB = 1024 * 1024
FORM = object()


class Word:
    """A text that counts how often it was made into a frame."""

    def __init__(self, text: str) -> None:
        self.payload = text.encode()
        self.size = len(self.payload)
        self.stamp = 0
        self.made = 0

    def frame(self, form: object) -> Frame | None:
        self.made += 1
        return None if form is not FORM else (TEXT, self.payload)


class Seat(Recipient):
    """A recipient that keeps what it takes."""

    __slots__ = ("audience", "parted", "taken")

    def __init__(
        self, audience: Audience, form: object, protocol: WebSocketProtocol | None
    ) -> None:
        super().__init__(form, protocol)
        self.audience = audience
        self.taken: list[Item] = []
        self.parted: list[Exception] = []

    def take(self, items: list[Item]) -> None:
        self.taken += items

    def part(self, reason: Exception) -> None:
        self.parted.append(reason)
        self.audience.discard(self)

    def connection_ended(self) -> None:
        self.audience.discard(self)


async def wait_for_messages(chat: WebSocketConnection) -> None:
    async for _message in chat:
        pass


def kept_seat(worker: Worker, audience: Audience, **options: Any) -> tuple[Kept, Seat]:
    """Return a transport that keeps what is written, and its seat in the audience."""
    transport = Kept()
    protocol = worker.serve(transport, wait_for_messages, **options)
    seat = Seat(audience, FORM, protocol)
    audience.add(seat)
    protocol.follower = seat
    return transport, seat


def sent(text: str) -> bytes:
    payload = text.encode()
    return bytes((FINAL | TEXT, len(payload))) + payload


def audience_of(worker: Worker, most: int = MIB) -> Audience:
    return Audience(Hall(worker.turn, most))


def say(audience: Audience, *texts: str) -> list[Word]:
    words = [Word(text) for text in texts]
    for word in words:
        audience.send(word)
    audience.hall.deliver()
    return words


@on_uvloop
async def test_a_frame_is_made_once_for_all(worker: Worker) -> None:
    audience = audience_of(worker)
    transports = [kept_seat(worker, audience)[0] for _ in range(5)]
    (word,) = say(audience, "hello")
    assert [one.writes for one in transports] == [[sent("hello")]] * 5
    assert word.made == 1
    assert (worker.counters.messages_sent, worker.counters.bytes_sent) == (5, 25)


@on_uvloop
async def test_what_comes_together_leaves_in_one_write(worker: Worker) -> None:
    audience = audience_of(worker)
    transport, _seat = kept_seat(worker, audience)
    say(audience, "a", "b", "c")
    assert transport.writes == [sent("a") + sent("b") + sent("c")]
    assert worker.counters.messages_sent == 3


@on_uvloop
async def test_recipients_with_another_form_get_theirs_or_nothing(worker: Worker) -> None:
    audience = audience_of(worker)
    transport, seat = kept_seat(worker, audience)
    seat.form = object()
    taker = Seat(audience, None, None)
    audience.add(taker)
    (word,) = say(audience, "a")
    assert transport.writes == []
    assert taker.taken == [word]


@on_uvloop
async def test_what_the_handler_has_sent_before_comes_before(worker: Worker) -> None:
    audience = audience_of(worker)
    transport, seat = kept_seat(worker, audience)
    protocol = seat.protocol
    assert protocol is not None
    protocol.outgoing.send_message(TEXT, b"mine", False)
    protocol.join_turn()
    say(audience, "all")
    protocol.outgoing.send_message(TEXT, b"mine again", True)
    await asyncio.sleep(0)
    assert b"".join(transport.writes) == sent("mine") + sent("all") + sent("mine again")
    assert protocol.outgoing.sent == 3


@on_uvloop
async def test_who_joins_gets_what_comes_later(worker: Worker) -> None:
    worker.go_by(replace(THRESHOLDS, turn_work=3 * DELIVERY, clock_looks=1))
    audience = audience_of(worker)
    first = [kept_seat(worker, audience)[0] for _ in range(20)]
    say(audience, "before")
    late, _seat = kept_seat(worker, audience)
    gone, seat = kept_seat(worker, audience)
    audience.discard(seat)
    say(audience, "after")
    await until(lambda: late.writes)
    await until(lambda: all(len(one.writes) == 2 for one in first))
    assert late.writes == [sent("after")]
    assert gone.writes == []
    assert audience.hall.held == 0


def largest_turn(worker: Worker, thresholds: Thresholds, members: int) -> Any:
    async def run() -> int:
        worker.go_by(thresholds)
        audience = audience_of(worker)
        transports = [kept_seat(worker, audience)[0] for _ in range(members)]
        with Turns() as turns:
            growth = turns.watch(lambda: sum(len(one.writes) for one in transports))
            await asyncio.sleep(0)
            say(audience, "a", "b")
            say(audience, "c")
            await until(lambda: growth.peak == 2 * members)
        assert all(one.writes == [sent("a") + sent("b"), sent("c")] for one in transports)
        return growth.most

    return run()


@on_uvloop
async def test_a_large_audience_is_written_to_over_several_turns(worker: Worker) -> None:
    few = replace(THRESHOLDS, turn_work=100 * DELIVERY)
    assert await largest_turn(worker, few, 1000) <= 200
    unlimited = replace(THRESHOLDS, turn_work=1 << 60, turn_seconds=1 << 30)
    assert await largest_turn(worker, unlimited, 1000) > 200


@on_uvloop
async def test_others_are_served_in_between(worker: Worker) -> None:
    worker.go_by(replace(THRESHOLDS, turn_work=50 * DELIVERY))
    audience = audience_of(worker)
    transports = [kept_seat(worker, audience)[0] for _ in range(2000)]
    client, _protocol = await worker.connect(echo)
    say(audience, "all")
    client.send(frame(FINAL | TEXT, b"one"))
    reply = await worker.loop.sock_recv(client, 100)
    assert reply == sent("one")
    # The room was not done when the echo came.
    assert any(not one.writes for one in transports)
    await until(lambda: all(one.writes for one in transports))


@pytest.mark.parametrize(("share", "at_once"), [(50, False), (1000, True)])
@on_uvloop
async def test_who_comes_meanwhile_does_not_wait_for_a_whole_turn(
    worker: Worker, share: int, at_once: bool
) -> None:
    turn = 1000 * DELIVERY
    worker.go_by(
        replace(THRESHOLDS, turn_work=turn, delivery_work=share * DELIVERY, turn_seconds=9.0)
    )
    audience = audience_of(worker)
    transports = [kept_seat(worker, audience)[0] for _ in range(5000)]
    client, _protocol = await worker.connect(echo)
    say(audience, "all")
    client.send(frame(FINAL | TEXT, b"one"))
    assert await worker.loop.sock_recv(client, 100) == sent("one")
    assert (sum(bool(one.writes) for one in transports) > 900) is at_once


@on_uvloop
async def test_a_slow_one_is_closed_and_nobody_waits_for_it(worker: Worker) -> None:
    audience = audience_of(worker, most=256 * 1024)
    slow, protocol = await worker.connect(wait_for_messages)
    seat = Seat(audience, FORM, protocol)
    audience.add(seat)
    protocol.follower = seat
    quick, _seat = kept_seat(worker, audience)
    word = "x" * 100_000
    count = 0
    while not worker.limits:
        say(audience, word)
        count += 1
        await asyncio.sleep(0)
        assert count < 1000
    assert worker.limits == {"member-backlog": 1}
    assert protocol.close_sent is not None
    assert protocol.close_sent.code == 1013
    assert protocol.outgoing.unsent() < 256 * 1024 + 2 * len(word)
    assert len(quick.writes) == count
    say(audience, "more")
    assert quick.writes[-1] == sent("more")
    assert audience.first is not seat
    slow.close()


@on_uvloop
async def test_without_a_limit_a_slow_one_is_held_for(worker: Worker) -> None:
    audience = audience_of(worker, most=1 << 40)
    _slow, protocol = await worker.connect(wait_for_messages)
    audience.add(Seat(audience, FORM, protocol))
    while protocol.outgoing.unsent() < 2 * MIB:
        say(audience, "x" * 100_000)
        await asyncio.sleep(0)
    assert not worker.limits


@on_uvloop
async def test_the_last_word_comes_behind_all(worker: Worker) -> None:
    worker.go_by(replace(THRESHOLDS, turn_work=3 * DELIVERY, clock_looks=1))
    audience = audience_of(worker)
    seats = [kept_seat(worker, audience) for _ in range(10)]
    say(audience, "a")
    reason = ValueError("over")
    audience.send(Parting(reason))
    audience.hall.deliver()
    await until(lambda: all(seat.parted for _transport, seat in seats))
    assert all(one.writes == [sent("a")] for one, _seat in seats)
    assert all(seat.parted == [reason] for _transport, seat in seats)
    assert audience.first is None
    assert audience.last is None


@on_uvloop
async def test_who_is_closing_gets_nothing_more(worker: Worker) -> None:
    audience = audience_of(worker)
    transport, seat = kept_seat(worker, audience)
    assert seat.protocol is not None
    seat.protocol.close(1000, "")
    written = len(transport.writes)
    say(audience, "a")
    assert len(transport.writes) == written


@on_uvloop
async def test_it_is_compressed_once_where_no_window_is_kept(worker: Worker) -> None:
    worker.agreement = Agreement(15, 15, client_takeover=False, server_takeover=False)
    audience = audience_of(worker)
    transports = [kept_seat(worker, audience)[0] for _ in range(3)]
    text = "all of them " * 100
    say(audience, text)
    pieces = [b"".join(one.writes) for one in transports]
    assert pieces == [pieces[0]] * 3
    assert len(pieces[0]) < 200
    # A piece for each would not be one object.
    batch = Batch([(TEXT, text.encode())])
    deflaters = [Deflater(worker.agreement, THRESHOLDS) for _ in range(2)]
    first, second = (batch.deflated(0, one, THRESHOLDS) for one in deflaters)
    assert first is second
    assert worker.counters.bytes_sent == 3 * len(text)


@on_uvloop
async def test_each_window_is_that_of_its_connection(worker: Worker) -> None:
    audience = audience_of(worker)
    worker.agreement = Agreement(15, 15, client_takeover=True, server_takeover=True)
    first, _seat = kept_seat(worker, audience)
    texts = ["one " * 100, "two " * 100, "one " * 100]
    say(audience, texts[0])
    second, _seat = kept_seat(worker, audience)
    say(audience, texts[1], texts[2])
    assert inflated(b"".join(first.writes)) == texts
    assert inflated(b"".join(second.writes)) == texts[1:]


def inflated(data: bytes) -> list[str]:
    stream = zlib.decompressobj(-15)
    found = []
    while data:
        assert data[0] == FINAL | 0x40 | TEXT
        assert data[1] < 126
        payload, data = data[2 : 2 + data[1]], data[2 + data[1] :]
        found.append(stream.decompress(payload + b"\x00\x00\xff\xff").decode())
    return found


@given(st.binary(max_size=300), st.integers(0, 100))
def test_fragments_are_those_of_a_message(payload: bytes, size: int) -> None:
    data = fragments(TEXT, payload, size, THRESHOLDS)
    parts = []
    finals = []
    while data:
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        finals.append(bool(data[0] & FINAL))
        parts.append((data[0] & 0xF, data[start : start + length]))
        data = data[start + length :]
    assert b"".join(part for _opcode, part in parts) == payload
    assert [opcode for opcode, _part in parts] == [TEXT] + [0] * (len(parts) - 1)
    assert finals == [False] * (len(finals) - 1) + [True]
    assert all(len(part) <= size for _opcode, part in parts) or not size


@pytest.mark.parametrize("leaving", range(5))
@on_uvloop
async def test_anybody_may_leave_in_the_middle(worker: Worker, leaving: int) -> None:
    worker.go_by(replace(THRESHOLDS, turn_work=2 * DELIVERY, clock_looks=1))
    audience = audience_of(worker)
    seats = [kept_seat(worker, audience) for _ in range(5)]
    say(audience, "a")
    audience.discard(seats[leaving][1])
    say(audience, "b")
    others = [one for number, (one, _seat) in enumerate(seats) if number != leaving]
    await until(lambda: all(len(one.writes) == 2 for one in others))
    assert all(one.writes == [sent("a"), sent("b")] for one in others)
    assert sent("b") not in seats[leaving][0].writes
