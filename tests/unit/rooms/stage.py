"""Workers, their broker and members of rooms in one thread, moved one step at a time.

The worker's side and the broker are the real ones; what lies between them is a list of frames in each
direction, which is delivered or lost as the test says. Members are clients that come back with their
position and repeat what is not acknowledged. What they note is judged as in the tortures.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any, cast

from mpchat.broker.reading import Limits
from mpchat.ipc.framing import Frames
from mpchat.ipc.records import parse
from mpchat.rooms.errors import Behind, RoomError
from mpchat.rooms.forms import Form, Frame
from mpchat.rooms.link import Link
from mpchat.rooms.message import TEXT as TEXT_KIND
from mpchat.rooms.message import Message
from mpchat.rooms.options import RoomsOptions
from mpchat.rooms.position import Position
from mpchat.rooms.publishing import Publishing
from mpchat.rooms.registry import Registry
from mpchat.rooms.room import Room
from mpchat.rooms.side import Side
from mpchat.scoreboard.counters import Counters
from mpchat.websocket.batch import Batch
from mpchat.websocket.broadcast import Hall
from mpchat.websocket.frames import TEXT
from mpchat.websocket.limits import Verdict
from mpchat.websocket.phases import LOST, OPEN
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.shared import Shared
from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.turn import Turn
from tests.chaos.sightings import MILLION, Ack, Answer, Notes, Publish, Refusal, Visit
from tests.unit.broker.rig import Rig
from tests.unit.broker.rig import Worker as Pair

ROOMS = 2
PATIENCE = 300
"""Rounds at the end in which everybody has to see everything."""


class _Sheet(Form):
    """Frames that a member of the stage reads at once."""

    def encode(self, message: Message) -> Frame:
        number = message.payload.split(b" ", 1)[0]
        return TEXT, b"seen %d %b %d" % (message.offset, number, message.at)

    def joined(self, room: str, position: Position, recovered: bool) -> Frame:
        return TEXT, f"joined {position} {int(recovered)}".encode()


_SHEET = _Sheet()


class Client:
    """A member and, as its worker's code sees it, the protocol of its connection."""

    def __init__(self, stage: Stage, number: int) -> None:
        self.stage, self.number = stage, number
        self.room = f"room-{number % ROOMS}"
        self.position = ""
        self.said = 0
        self.published: dict[int, Publish] = {}
        self.open: dict[int, Publish] = {}
        self.once: set[int] = set()
        self.visit: Visit | None = None
        self.member: Room | None = None
        self.task: asyncio.Task[None] | None = None
        self.news = asyncio.Event()
        self.phase = LOST
        self.follower: Any = None
        self.outgoing = self
        self.context = SimpleNamespace(user=None)
        self.worker = -1

    # As a connection

    @property
    def is_finished(self) -> bool:
        return self.phase != OPEN

    def closed_error(self) -> Exception:
        return ConnectionError()

    @property
    def is_content(self) -> bool:
        """Whether it is in its room and has no open publish."""
        return self.visit is not None and bool(self.visit.joined) and not self.open

    async def wait_writable(self) -> None:
        await asyncio.sleep(0)

    def send_batch(self, batch: Batch, most: int) -> bool:
        if self.phase == OPEN:
            for _opcode, payload in batch.frames:
                self._hear(payload.decode().split(" "))
        return True

    def exceeds(self, limit: Verdict) -> None:
        self.close(limit.code, "")

    def close(self, code: int, reason: str) -> None:
        if self.phase == OPEN:
            assert self.visit is not None
            self.visit.code = code
            self.stage.later(self.cut)
            self.phase = LOST

    # As a client

    def come(self, worker: int) -> None:
        """Connect, unless it is connected."""
        if self.visit is not None:
            return
        stage = self.stage
        self.visit = visit = Visit(len(stage.notes.visits), stage.tick(), member=self.number)
        visit.room, visit.since = self.room, self.position
        stage.notes.visits.append(visit)
        self.phase, self.worker = OPEN, worker
        side = stage.workers[worker].side
        given = Position.parse(self.position) if self.position else None
        info = b'{"visit":%d}' % visit.number
        protocol = cast(WebSocketProtocol, self)
        self.member = Room(side, self.room.encode(), protocol, given, info, _SHEET)
        self.task = asyncio.get_running_loop().create_task(self._be_there(self.member, visit))

    def cut(self) -> None:
        """Lose the connection, if there is one."""
        visit, task, follower = self.visit, self.task, self.follower
        if visit is None or task is None:
            return
        self.phase = LOST
        visit.ended = self.stage.tick()
        self.visit = self.task = self.member = self.follower = None
        if follower is not None:
            follower.connection_ended()
        task.cancel()
        for message in self.once & self.open.keys():
            # Nobody knows what became of it.
            del self.open[message], self.published[message]

    def say(self, *, once: bool = False) -> None:
        """Publish something new, if it is in its room."""
        if self.visit is not None and self.visit.joined:
            self.said += 1
            message = (self.number + 1) * MILLION + self.said
            publish = Publish(message, self.room, self.stage.tick())
            self.published[message] = publish
            self.open[message] = publish
            if once:
                self.once.add(message)
            self.news.set()

    def say_once(self) -> None:
        """Publish without an id: the worker repeats it, and the client cannot."""
        self.say(once=True)

    def doubt(self) -> None:
        """Act as if the last acknowledgement had been lost."""
        mine = [each for each in self.published.values() if each.acks]
        if mine and mine[-1].message not in self.once:
            self.open[mine[-1].message] = mine[-1]
            self.news.set()

    async def ask(self) -> None:
        """Note who is there."""
        assert self.member is not None
        asked = self.stage.tick()
        found = await self.member.members()
        listed = [each["visit"] for each in found.infos or []]
        self.stage.notes.answers.append(Answer(self.room, asked, self.stage.tick(), listed))

    async def _be_there(self, room: Room, visit: Visit) -> None:
        try:
            async with room:
                while True:
                    self.news.clear()
                    for message in sorted(self.open):
                        await self._publish(room, visit, self.open[message])
                    await self.news.wait()
        except (RoomError, ConnectionError):
            if self.visit is visit:
                self.close(1013, "")

    async def _publish(self, room: Room, visit: Visit, publish: Publish) -> None:
        payload = b"%d %b" % (publish.message, bytes(self.stage.payload))
        publish.sends += 1
        try:
            name = None if publish.message in self.once else str(publish.message)
            answer: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
            room.begin(TEXT_KIND, payload, answer, id=name, client=f"client-{self.number}")
            position = await answer
        except Behind:
            # Its membership is over.
            raise
        except RoomError as error:
            publish.refusals.append(Refusal(type(error).__name__, self.stage.tick()))
            raise
        if self.visit is visit and self.phase == OPEN:
            publish.acks.append(Ack(visit.number, position.offset, self.stage.tick()))
            del self.open[publish.message]

    def _hear(self, words: list[str]) -> None:
        visit = self.visit
        assert visit is not None
        if words[0] == "joined":
            assert not visit.joined, "two first frames"
            position = Position.parse(words[1])
            visit.joined, visit.recovered = self.stage.tick(), words[2] == "1"
            visit.epoch, visit.offset = position.epoch, position.offset
            self.position = words[1]
        else:
            assert visit.joined, "a message before the first frame"
            visit.offsets.append(int(words[1]))
            visit.messages.append(int(words[2]))
            self.position = f"{visit.epoch}:{words[1]}:{words[3]}"


class _Side(Side):
    """The worker's side of rooms, with a wire for a link."""

    def __init__(self, worker: Worker, shared: Shared, options: RoomsOptions) -> None:
        super().__init__(shared, options)
        link = cast(Link, worker)
        self.publishing = Publishing(shared.loop, link, self.limit, self.count_limit)
        self.registry = Registry(link, worker.hall, self.publishing, self.count_limit)


class Worker:
    """A worker: its side of rooms, and what is on its way in either direction."""

    def __init__(self, stage: Stage, incarnation: int) -> None:
        self.stage, self.incarnation = stage, incarnation
        loop = asyncio.get_running_loop()
        turn = Turn(loop, lambda: None, lambda: None, Thresholds())
        shared = SimpleNamespace(
            loop=loop,
            turn=turn,
            counters=Counters(),
            count_limit=lambda name: None,
            clock=lambda: 0.0,
        )
        self.hall = Hall(turn, 1 << 30)
        options = RoomsOptions.model_validate({})
        self.side = _Side(self, cast(Shared, shared), options)
        self.pair: Pair | None = None
        self.asked: deque[bytes] = deque()
        self.told: deque[bytes] = deque()
        self._frames = Frames()

    def send(self, frame: bytes) -> None:
        if self.pair is not None:
            self.asked.append(frame)

    def connect(self) -> None:
        """Take a fresh pair, in place of the old one, if there is one."""
        self.disconnect()
        self.pair = self.stage.rig.worker(self.incarnation)
        self._frames = Frames()
        self.side.registry.connected()

    def disconnect(self) -> None:
        """Lose the pair, with all that is on its way."""
        if self.pair is not None:
            self.pair = None
            self.asked.clear()
            self.told.clear()
            self.side.registry.disconnected()

    def ask(self, most: int) -> None:
        """Deliver frames to the broker."""
        while self.asked and self.pair is not None and most > 0 and self.pair.pair.open:
            self.pair.pair.data_received(self.asked.popleft())
            most -= 1

    def listen(self, most: int) -> None:
        """Deliver frames of the broker."""
        if self.pair is not None:
            sent, self.pair.wire.sent = self.pair.wire.sent, []
            if sent:
                self.told += self._frames.cut(b"".join(sent))
            frames = [self.told.popleft() for _ in range(min(most, len(self.told)))]
            self.side.registry.receive(frames)
            self.hall.turn.renew()
            self.hall.deliver()


class Stage:
    """All of them."""

    def __init__(self, workers: int, members: int, payload: int, history: int) -> None:
        self.payload = payload
        limits = Limits(history, 1 << 30, 3_600_000)
        self.rig = Rig(worker_backlog=16_384, history=limits)
        self.notes = Notes()
        self._time = 1.0
        self._later: list[Any] = []
        self._last = workers
        self.workers = [Worker(self, number) for number in range(1, workers + 1)]
        for worker in self.workers:
            worker.connect()
        self.clients = [Client(self, number) for number in range(members)]

    def tick(self) -> float:
        self._time += 0.001
        return self._time

    def later(self, call: Any) -> None:
        self._later.append(call)

    async def spin(self) -> None:
        """Let coroutines run."""
        for _ in range(4):
            await asyncio.sleep(0)
        later, self._later = self._later, []
        for call in later:
            call()

    def kill_broker(self, heard: int) -> None:
        """Every worker has heard so much of what was on its way, and nothing else."""
        for worker in self.workers:
            worker.listen(heard)
        self.rig.kill()
        for worker in self.workers:
            worker.disconnect()

    def kill_worker(self, index: int) -> None:
        worker = self.workers[index]
        for client in self.clients:
            if client.worker == index:
                client.cut()
        worker.disconnect()
        self.rig.broker.worker_gone(worker.incarnation)
        self._last += 1
        self.workers[index] = Worker(self, self._last)
        self.workers[index].connect()

    def pump(self) -> None:
        """Deliver whatever is on its way, and have the broker do all that is to do."""
        for worker in self.workers:
            worker.ask(1000)
        self.rig.turn()
        for worker in self.workers:
            worker.listen(1000)

    async def settle(self) -> None:
        """Let everybody come and see everything, as far as they do within PATIENCE."""
        for _round in range(PATIENCE):
            for worker in self.workers:
                if worker.pair is None or not worker.pair.pair.open:
                    worker.connect()
                assert worker.pair is not None
                worker.pair.wire.go_on()
            self.pump()
            await self.spin()
            for client in self.clients:
                client.come(client.number % len(self.workers))
            if all(client.is_content for client in self.clients) and not any(
                worker.asked or worker.told for worker in self.workers
            ):
                break
        self.rig.second()

    async def ask_all(self) -> None:
        """Have everybody ask who is there."""
        asking = [asyncio.create_task(client.ask()) for client in self.clients if client.is_content]
        while not all(task.done() for task in asking):
            self.pump()
            await self.spin()
        for task in asking:
            task.result()

    async def close(self) -> None:
        """End all that is open."""
        for client in self.clients:
            self.notes.publishes += client.published.values()
        self._note_unheard()
        for client in self.clients:
            if client.visit is not None:
                client.visit.stayed = bool(client.visit.joined)
            client.cut()
        await self.spin()
        self.rig.close()

    def _note_unheard(self) -> None:
        """Note what is stored although its client does not know, as if it had been acknowledged."""
        known = {publish.message for publish in self.notes.publishes}
        visit = next(visit.number for visit in self.notes.visits if visit.joined)
        store, offset = self.rig.store, self.rig.store.floor
        rooms = {client.room.encode() for client in self.clients}
        while offset <= store.mark:
            found, offset = store.follow(offset, rooms)
            for record in map(parse, found):
                message = int(record.payload.split(b" ")[0])
                if message not in known:
                    ack = Ack(visit, record.offset, self.tick())
                    room = record.room.decode()
                    self.notes.publishes.append(Publish(message, room, ack.at, 1, [ack]))
