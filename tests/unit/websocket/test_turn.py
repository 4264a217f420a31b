"""One budget for each turn of the loop, whatever is done in it, and lines for those who wait.

The product counts its work itself (messages, work of a turn); here the counts are looked at in each turn
of the loop. Each bound is exceeded once without the budget.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from mpchat.scoreboard.counters import Counters
from mpchat.server.accepted import Accepted
from mpchat.server.accepting import Acceptor
from mpchat.websocket.budget import FRAME, INFLATED_BYTE, Budget
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.deflate import Agreement
from mpchat.websocket.parser import Parser
from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.turn import Line, Turn
from tests.kit.frames import BINARY, CLOSE, FINAL, PING, frame
from tests.unit.websocket.rig import Turns, Worker, echo, on_uvloop, until

MANY = 200
THRESHOLDS = Thresholds()
WORK_OF_A_TURN, MAX_FRAMES = THRESHOLDS.turn_work, THRESHOLDS.max_frames
UNLIMITED = replace(
    THRESHOLDS,
    turn_work=1 << 60,
    turn_seconds=1 << 30,
    max_frames=1 << 30,
    max_frames_in_crowd=1 << 30,
    max_uncommon=1 << 30,
)
KIB = 1024
MIB = 1024 * KIB
SMALL = frame(FINAL | BINARY, bytes(4))
GOODBYE = frame(FINAL | BINARY, b"bye")
CODE = (1000).to_bytes(2, "big")
TURNS = 2
"""A turn as it is counted here may have parts of two budgets."""
FRAMES_OF_A_TURN = TURNS * WORK_OF_A_TURN // FRAME + MAX_FRAMES
COMPRESSED = 0x40
BITS = Agreement(15, 15, client_takeover=True, server_takeover=True)


def compressed(data: bytes) -> bytes:
    stream = zlib.compressobj(9, wbits=-15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


# The budget


def test_a_budget_is_spent_when_so_much_work_is_done() -> None:
    budget = Budget(THRESHOLDS, lambda: 0.0)
    for _ in range(100):
        assert budget.left > 0
        budget.charge(WORK_OF_A_TURN // 100)
    assert budget.left == 0
    budget.renew()
    assert budget.left == WORK_OF_A_TURN


def test_on_a_slow_machine_the_clock_ends_the_turn() -> None:
    now = 0.0
    budget = Budget(THRESHOLDS, lambda: now)
    done = 0
    while budget.left > 0:
        budget.charge(1_000)
        now += 10_000 / 1e9
        done += 1_000
    assert done < WORK_OF_A_TURN / 2
    assert now < 3 * THRESHOLDS.turn_seconds


def test_the_clock_is_not_looked_at_for_every_message() -> None:
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return 0.0

    budget = Budget(THRESHOLDS, clock)
    while budget.left > 0:
        budget.charge(FRAME)
    assert looks <= 8


# The lines


class Member:
    """Somebody who waits, and needs so much work each time."""

    def __init__(self, name: str, served: list[tuple[int, str]], turns: Turns, work: int) -> None:
        self._name, self._served, self._turns, self._work = name, served, turns, work
        self.again: Callable[[], None] | None = None
        self._budget: Budget | None = None

    def join(self, turn: Turn, line: Line, kept: int = 0) -> None:
        self._budget = turn
        turn.line_up(line, self, kept)

    def serve(self) -> None:
        assert self._budget is not None
        self._served.append((self._turns.number, self._name))
        self._budget.charge(self._work)
        if self.again is not None:
            self.again()


def made_turn() -> Turn:
    return Turn(asyncio.get_running_loop(), lambda: None, lambda: None, THRESHOLDS, lambda: 0.0)


async def test_who_waits_is_served_in_order_and_who_was_served_goes_to_the_end() -> None:
    turn, served = made_turn(), list[tuple[int, str]]()
    with Turns() as turns:
        members = [Member(str(i), served, turns, WORK_OF_A_TURN // 3) for i in range(7)]
        for member in members:
            member.join(turn, turn.open_line)
        first = members[0]

        def once_more() -> None:
            first.again = None
            first.join(turn, turn.open_line)

        first.again = once_more
        await until(lambda: len(served) == 8)
    assert "".join(name for _turn, name in served) == "01234560"
    # What serving itself takes is counted as well: so four in a turn need more than there is.
    assert max(Counter(number for number, _name in served).values()) == 3


async def test_no_more_read_on_than_the_budget_is_enough_for() -> None:
    turn, served = made_turn(), list[tuple[int, str]]()

    def promise() -> None:
        turn.promised += WORK_OF_A_TURN // 3

    with Turns() as turns:
        for number in range(9):
            member = Member(str(number), served, turns, 0)
            member.again = promise
            member.join(turn, turn.open_line)
        await until(lambda: len(served) == 9)
    assert "".join(name for _turn, name in served) == "012345678"
    assert max(Counter(number for number, _name in served).values()) == 3


async def test_the_two_lines_alternate() -> None:
    turn, served = made_turn(), list[tuple[int, str]]()
    with Turns() as turns:
        for number in range(10):
            Member(f"new{number}", served, turns, 1000).join(turn, turn.new_line)
        Member("open", served, turns, 1000).join(turn, turn.open_line)
        await until(lambda: len(served) == 11)
    assert served[0][1] == "open"


async def test_one_that_fails_does_not_keep_others_waiting() -> None:
    turn, served = made_turn(), list[tuple[int, str]]()
    failures: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
    with Turns() as turns:
        bad, good = Member("bad", served, turns, 0), Member("good", served, turns, 0)

        def fail() -> None:
            raise RuntimeError("a bug")

        bad.again = fail
        bad.join(turn, turn.open_line)
        good.join(turn, turn.open_line)
        await until(lambda: len(served) == 2)
    assert [str(failure) for failure in failures] == ["a bug"]


# What clients do at once


@pytest.mark.parametrize("budget", [True, False])
@on_uvloop
async def test_many_that_send_at_once_share_a_turn(worker: Worker, budget: bool) -> None:
    if not budget:
        worker.go_by(UNLIMITED)
    taken: Counter[int] = Counter()

    async def take(chat: WebSocketConnection) -> None:
        async for _message in chat:
            taken[id(chat)] += 1

    clients = [(await worker.connect(take))[0] for _ in range(MANY)]
    honest, _protocol = await worker.connect(echo)
    each = 100
    with Turns() as turns:
        frames = turns.watch(lambda: worker.counters.messages_received)
        for client in clients:
            client.send(SMALL * each)
        honest.send(SMALL)
        begun = turns.number
        await worker.loop.sock_recv(honest, 100)
        waited = turns.number - begun
        await until(lambda: taken.total() == MANY * each)
    # Each gets its share, also the last.
    assert set(taken.values()) == {each}
    assert (frames.most <= FRAMES_OF_A_TURN) == budget
    if budget:
        # One round of the line: a read and a few frames of each.
        assert waited <= MANY * (each * FRAME + 2 * READ_WORK) / WORK_OF_A_TURN + 3


READ_WORK = 10_000


@pytest.mark.parametrize("budget", [True, False])
@on_uvloop
async def test_what_comes_after_our_close_is_dropped_within_the_budget(
    worker: Worker, budget: bool
) -> None:
    if not budget:
        worker.go_by(UNLIMITED)

    async def leave(chat: WebSocketConnection) -> None:
        await chat.recv()

    client, protocol = await worker.connect(leave)
    client.send(GOODBYE)
    await until(lambda: protocol.close_sent is not None)
    with Turns() as turns:
        frames = turns.watch(lambda: protocol.parser.overhead)
        flood = frame(FINAL | PING, b"") * 20_000
        await worker.loop.sock_sendall(client, flood + frame(FINAL | CLOSE, CODE))
        await until(lambda: protocol.is_finished)
    assert protocol.close_rcvd is not None
    assert (frames.most <= FRAMES_OF_A_TURN) == budget


@pytest.mark.parametrize("size", [60_000, 4 * MIB])
@pytest.mark.parametrize("budget", [True, False])
@on_uvloop
async def test_bombs_below_the_limit_are_inflated_within_the_budget(
    worker: Worker, size: int, budget: bool
) -> None:
    if not budget:
        worker.go_by(UNLIMITED)
    count = 16 * MIB // size
    received: list[int] = []

    async def take(chat: WebSocketConnection) -> None:
        async for message in chat:
            received.append(len(message))

    options = {"max-remote-payload": 4 * MIB}
    worker.agreement = BITS
    client, protocol = await worker.connect(take, **options)
    bombs = frame(FINAL | COMPRESSED | BINARY, compressed(bytes(size)))
    with Turns() as turns:
        work = turns.watch(lambda: worker.turn.done)
        await worker.loop.sock_sendall(client, bombs)
        for _ in range(count - 1):
            await worker.loop.sock_sendall(client, bombs)
        await until(lambda: len(received) == count)
    assert received == [size] * count
    assert protocol.close_sent is None
    assert (work.most <= TURNS * WORK_OF_A_TURN + 64 * KIB * INFLATED_BYTE) == budget


def test_a_large_message_is_inflated_in_several_turns() -> None:
    size, budget = 4 * MIB, Budget(THRESHOLDS, lambda: 0.0)
    parser = Parser(size, Counters().traffic_of("test"), budget, BITS)
    messages: list[str | bytes] = []
    whole = bytes(range(256)) * (size // 256)
    data = frame(FINAL | COMPRESSED | BINARY, compressed(whole)) + SMALL
    more, steps = parser.feed(data, messages, MAX_FRAMES), 1
    while more:
        assert parser.is_within_message == (messages != [whole, bytes(4)])
        budget.renew()
        more = parser.feed(b"", messages, MAX_FRAMES)
        steps += 1
    assert messages == [whole, bytes(4)]
    assert steps >= size * INFLATED_BYTE // WORK_OF_A_TURN
    assert parser.received == 2


@pytest.mark.parametrize("bound", [True, False])
@on_uvloop
async def test_what_is_read_and_not_parsed_has_a_limit_in_a_worker(
    worker: Worker, bound: bool
) -> None:
    most = MIB
    worker.go_by(replace(THRESHOLDS, max_kept_bytes=most if bound else 1 << 60))
    taken: Counter[int] = Counter()

    async def take(chat: WebSocketConnection) -> None:
        async for message in chat:
            taken[id(chat)] += len(message)

    clients = [(await worker.connect(take))[0] for _ in range(60)]
    data = frame(FINAL | BINARY, bytes(60_000)) * 2
    with Turns() as turns:
        kept = turns.watch(lambda: worker.turn.kept)
        # Nothing is parsed now, as in a turn that others have used up.
        worker.turn.left = 0
        for client in clients:
            assert client.send(data) == len(data)
        await until(lambda: taken.total() == 60 * 120_000)
    assert (kept.peak <= most + len(data)) == bound
    # All go on.
    for client in clients:
        client.send(SMALL)
    await until(lambda: taken.total() == 60 * 120_004)


@on_uvloop
async def test_who_is_ended_by_a_limit_holds_up_nobody(worker: Worker) -> None:
    worker.go_by(replace(THRESHOLDS, max_kept_bytes=MIB))
    options = {"max-messages-per-second": 100}
    floods = [await worker.connect(echo, **options) for _ in range(80)]
    honest, _protocol = await worker.connect(echo, **options)
    fragments = frame(BINARY, b"x") + 8_000 * frame(0, b"x")
    loop = asyncio.get_running_loop()
    # More than the limit, and nobody reads on before it is half as much.
    worker.turn.left = 0
    for client, _protocol in floods:
        assert client.send(fragments) == len(fragments)
    await until(lambda: worker.turn.is_full)
    await loop.sock_sendall(honest, SMALL)
    assert await loop.sock_recv(honest, 100) == b"\x82\x04" + bytes(4)
    await until(lambda: worker.limits["max-messages-per-second"] == len(floods))
    # Each was ended at its next few frames, and what came behind them was dropped.
    assert all(protocol.parser.fragments < 1_000 for _client, protocol in floods)
    assert worker.turn.kept == 0
    for client, _protocol in floods:
        client.close()
    await until(lambda: worker.counters.connections == 1)


async def test_clients_are_accepted_within_the_budget() -> None:
    turn = made_turn()
    accepted: list[Accepted] = []
    left: list[int] = []

    def on_socket(client: Accepted, _address: object) -> None:
        accepted.append(client)
        left.append(turn.left)

    acceptor = Acceptor(asyncio.get_running_loop(), turn, on_socket, lambda: None)
    with Turns() as turns, socket.create_server(("127.0.0.1", 0)) as listening:
        clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
        others = Member("others", [], turns, WORK_OF_A_TURN)
        # They use up every turn.
        others.again = lambda: others.join(turn, turn.open_line)
        others.join(turn, turn.open_line)
        turn.left = 0
        acceptor.add([listening])
        async with asyncio.timeout(30):
            await until(lambda: len(accepted) == 3)
        others.again = None
        acceptor.leave()
    assert min(left) > 0
    for ours in accepted:
        ours.close()
    for client in clients:
        client.close()
