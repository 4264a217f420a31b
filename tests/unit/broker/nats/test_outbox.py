"""Publishes on their way to the stream: each room's order, once each, and an answer in time."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mpchat.broker.nats.outbox import Outbox, Publish
from mpchat.broker.pairs import Pair
from mpchat.ipc.rooms import Reason
from mpchat.jetstream.api import Ack
from mpchat.jetstream.api import Api as RealApi
from mpchat.jetstream.errors import Busy, ConnectionLost, NoLeader, Refused, TooLarge
from mpchat.jetstream.subjects import token_of
from tests.unit.broker.nats.clock import until
from tests.unit.broker.nats.rig import Scene, scene
from tests.unit.broker.nats.stream import LATENCY, UNANSWERED, UNASKED, Api, Line


class Desk:
    """An outbox, and what it answers."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.line = Line(scene.stream, lambda: None, lambda why: None)
        self.api = Api(self.line, scene.stream)
        self.pair = cast(Pair, SimpleNamespace(open=True))
        self.acked: list[tuple[int, Ack]] = []
        self.refused: list[tuple[int, Reason]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.outbox = Outbox(cast(RealApi, self.api), self, self.spawn, self._loop.time)

    def spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stored(self, publish: Publish, ack: Ack) -> None:
        self.acked.append((publish.counter, ack))

    def refuse(self, publish: Publish, reason: Reason) -> None:
        self.refused.append((publish.counter, reason))

    def put(self, counter: int, room: bytes = b"a", seconds: float = 10.0) -> None:
        body, name = b"%d" % counter, f"id-{room.hex()}-{counter}"
        deadline = self._loop.time() + seconds
        self.outbox.put(Publish(self.pair, counter, room, token_of(room), name, body, deadline))

    async def done(self) -> None:
        await until(lambda: not self.outbox.waiting)
        await until(lambda: not self._tasks)

    def stored_in(self, room: bytes = b"a") -> list[bytes]:
        return [one.data for one in self.scene.stream.all(token_of(room))]


@scene
async def test_a_room_keeps_its_order_whatever_becomes_of_answers(scene: Scene) -> None:
    desk = Desk(scene)
    lost = ConnectionLost("gone")
    desk.api.fates(
        "publish", UNANSWERED, None, UNASKED, Busy("wait"), lost, NoLeader("none"), UNANSWERED
    )
    for counter in range(6):
        desk.put(counter, seconds=30.0)
    assert desk.outbox.waiting == 6
    await desk.done()
    assert desk.stored_in() == [b"%d" % counter for counter in range(6)]
    assert [(counter, ack.seq) for counter, ack in desk.acked] == [(n, n + 1) for n in range(6)]
    assert [counter for counter, ack in desk.acked if ack.duplicate] == [0, 1]
    assert not desk.refused


@scene
async def test_a_room_has_one_message_in_flight_and_all_rooms_have_theirs(scene: Scene) -> None:
    desk = Desk(scene)
    held = desk.api.hold("publish")
    for room in (b"a", b"b", b"c"):
        for counter in range(3):
            desk.put(counter, room)
    await asyncio.sleep(0.1)
    assert scene.stream.last_seq == 3
    held.set()
    await desk.done()
    assert desk.stored_in(b"a") == desk.stored_in(b"b") == [b"0", b"1", b"2"]


@scene
async def test_other_rooms_are_not_held_up(scene: Scene) -> None:
    desk = Desk(scene)
    desk.api.fates("publish", UNASKED)
    desk.put(1, b"slow")
    await asyncio.sleep(2 * LATENCY)
    desk.put(2, b"quick")
    await asyncio.sleep(4 * LATENCY)
    assert [counter for counter, _ack in desk.acked] == [2]
    await desk.done()
    assert [counter for counter, _ack in desk.acked] == [2, 1]


@pytest.mark.parametrize("fate", [UNASKED, NoLeader("none")])
@scene
async def test_after_its_time_nobody_knows(scene: Scene, fate: Any) -> None:
    desk = Desk(scene)
    desk.api.fate = lambda name: fate
    started = asyncio.get_running_loop().time()
    desk.put(1, seconds=5.0)
    desk.put(2, seconds=5.0)
    desk.put(3, b"b", seconds=2.5)
    await desk.done()
    assert sorted(desk.refused) == [(n, Reason.UNAVAILABLE) for n in (1, 2, 3)]
    assert asyncio.get_running_loop().time() - started == pytest.approx(5.0, abs=0.2)
    desk.api.fate = lambda name: None
    desk.put(4)
    await desk.done()
    assert desk.stored_in() == [b"4"], "what was given up does not come behind its successors"


@scene
async def test_nothing_is_sent_of_a_worker_that_is_gone(scene: Scene) -> None:
    desk = Desk(scene)
    held = desk.api.hold("publish")
    for counter in range(3):
        desk.put(counter)
    await asyncio.sleep(0.1)
    desk.pair.open = False
    held.set()
    await desk.done()
    assert desk.stored_in() == [b"0"]
    assert desk.api.asked["publish"] == 1


@scene
async def test_nothing_is_sent_again_of_a_worker_that_is_gone(scene: Scene) -> None:
    desk = Desk(scene)
    desk.api.fate = lambda name: UNASKED
    desk.put(1)
    await asyncio.sleep(1.0)
    desk.pair.open = False
    await desk.done()
    assert desk.api.asked["publish"] == 1
    assert not desk.refused


@scene
async def test_while_the_connection_is_down_publishes_wait(scene: Scene) -> None:
    desk = Desk(scene)
    desk.line.lose(3.0)
    for counter in range(3):
        desk.put(counter)
    await desk.done()
    assert desk.stored_in() == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("error", "reason", "told"),
    [
        (Refused("too large", 10054, 400, ""), Reason.SIZE, ""),
        (Refused("no", 10071, 400, ""), Reason.UNAVAILABLE, "the stream refuses a message: no"),
        (TooLarge("large"), Reason.UNAVAILABLE, "a message cannot be published: large"),
    ],
)
@scene
async def test_what_the_stream_does_not_take_is_refused_at_once(
    scene: Scene,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    reason: Reason,
    told: str,
) -> None:
    desk = Desk(scene)
    desk.api.fates("publish", error)
    desk.put(1)
    desk.put(2)
    await desk.done()
    assert desk.refused == [(1, reason)]
    assert desk.stored_in() == [b"2"]
    errors = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert errors == ([told] if told else [])


@scene
async def test_a_room_that_has_sent_all_takes_more(scene: Scene) -> None:
    desk = Desk(scene)
    for counter in range(5):
        desk.put(counter)
        await desk.done()
    assert desk.stored_in() == [b"%d" % counter for counter in range(5)]
