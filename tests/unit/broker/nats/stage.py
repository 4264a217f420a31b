"""Hosts on one stream, workers, and members of rooms that come back with their positions.

As the stage of the tests of rooms, whose members and workers these are; in place of one broker stand
hosts, and what happens to the stream and to the way there is chance.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from mpchat.broker.nats.wire import record_of
from mpchat.broker.reading import Limits
from mpchat.ipc import records
from mpchat.jetstream.errors import Busy, ConnectionLost, Incomplete, NoLeader
from mpchat.jetstream.messages import Stored
from mpchat.jetstream.subjects import token_of
from tests.chaos.sightings import Ack, Notes, Publish, Refusal
from tests.unit.broker.nats.rig import Host, Scene
from tests.unit.broker.nats.stream import UNANSWERED, UNASKED, Delays, Fate
from tests.unit.rooms.stage import ROOMS, Client, Stage
from tests.unit.rooms.stage import Worker as StageWorker

PATIENCE = 600
"""Rounds at the end in which everybody has to see everything."""
_ROUND = 0.05
"""Seconds of a round."""
_AGREED = 240
"""Seconds until hosts agree on who is there, whatever announcement was lost."""
_FAULTS: tuple[Fate, ...] = (
    UNASKED,
    UNANSWERED,
    Incomplete("a part is missing"),
    NoLeader("there is none"),
    ConnectionLost("it is said to be"),
    Busy("it is being stored"),
)


class HostWorker(StageWorker):
    """A worker of one of the hosts."""

    def __init__(self, stage: HostStage, host: Host, incarnation: int) -> None:
        super().__init__(stage, incarnation)
        self.host = host

    def connect(self) -> None:
        self.disconnect()
        self._frames = type(self._frames)()
        self.pair = self.host.worker(self.incarnation)  # type: ignore[assignment]
        self.side.registry.connected()


class Weather:
    """What goes wrong, each with its chance; all are 0 in the end."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.dropped = self.doubled = self.delayed = self.faulty = self.unheard = 0.0

    def change(self) -> None:
        """Be another one."""
        pick = self.chance.choice
        self.dropped = pick([0.0, 0.0, 0.05, 0.5])
        self.doubled = pick([0.0, 0.1])
        self.delayed = pick([0.0, 0.1])
        self.faulty = pick([0.0, 0.0, 0.02, 0.2])
        self.unheard = pick([0.0, 0.1])

    def live(self, _stored: Stored) -> Delays:
        chance = self.chance
        if chance.random() < self.dropped:
            return ()
        if chance.random() < self.doubled:
            return (0.0, chance.uniform(0.0, 0.3))
        if chance.random() < self.delayed:
            return (chance.uniform(0.0, 0.3),)
        return (0.0,)

    def question(self, _name: str) -> Fate:
        return self.chance.choice(_FAULTS) if self.chance.random() < self.faulty else None

    def control(self, *_what: Any) -> bool:
        return self.chance.random() < self.unheard


class HostStage(Stage):
    """All of them."""

    def __init__(
        self, chance: random.Random, hosts: int, workers: int, members: int, payload: int
    ) -> None:
        self.payload = payload
        self.notes = Notes()
        self._time = 1.0
        self._later: list[Any] = []
        self.weather = Weather(chance)
        self.scene = Scene()
        self.scene.stream.is_unheard = self.weather.control
        limits = Limits(1000, 1 << 30, 3_600_000)
        self.hosts = [self.scene.host(worker_backlog=16_384, history=limits) for _ in range(hosts)]
        for host in self.hosts:
            self._expose(host)
        self._last = workers
        self.workers: list[StageWorker] = [
            HostWorker(self, self.hosts[number % hosts], number + 1) for number in range(workers)
        ]
        for worker in self.workers:
            worker.connect()
        self.clients = [Client(self, number) for number in range(members)]

    def _expose(self, host: Host) -> None:
        host.line.fate = self.weather.live
        host.api.fate = self.weather.question

    def _of(self, host: Host) -> list[StageWorker]:
        return [one for one in self.workers if isinstance(one, HostWorker) and one.host is host]

    async def spin(self) -> None:
        """Let a moment pass."""
        await asyncio.sleep(0.002)
        later, self._later = self._later, []
        for call in later:
            call()

    def kill_host(self, host: Host, heard: int) -> None:
        """Its workers have heard so much of what was on its way, and get a new broker later."""
        for worker in self._of(host):
            worker.listen(heard)
        host.kill()
        for worker in self._of(host):
            worker.disconnect()
        host.start()
        self._expose(host)

    def kill_worker(self, index: int) -> None:
        worker = self.workers[index]
        assert isinstance(worker, HostWorker)
        for client in self.clients:
            if client.worker == index:
                client.cut()
        worker.disconnect()
        worker.host.broker.worker_gone(worker.incarnation)
        self._last += 1
        self.workers[index] = HostWorker(self, worker.host, self._last)
        self.workers[index].connect()

    def pump(self) -> None:
        """Deliver whatever is on its way between workers and brokers."""
        for worker in self.workers:
            worker.ask(1000)
            worker.listen(1000)

    async def settle(self) -> None:
        """Let all be well, and everybody come and see everything, as far as they do in PATIENCE."""
        weather, stream = self.weather, self.scene.stream
        weather.dropped = weather.doubled = weather.delayed = weather.faulty = weather.unheard = 0.0
        stream.has_leader = True
        for host in self.hosts:
            host.line.has, host.line.is_cut_off = None, False
        for _round in range(PATIENCE):
            for worker in self.workers:
                if worker.pair is None or not worker.pair.pair.open:
                    worker.connect()
                assert worker.pair is not None
                worker.pair.wire.go_on()
            self.pump()
            await asyncio.sleep(_ROUND)
            await self.spin()
            for client in self.clients:
                client.come(client.number % len(self.workers))
            if all(client.is_content for client in self.clients):
                break
        for _round in range(_AGREED // 4):
            self.pump()
            await asyncio.sleep(4.0)
            await self.spin()
            # A look may show only now that a member has missed what is gone.
            for client in self.clients:
                client.come(client.number % len(self.workers))
        self.pump()
        await self.spin()

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
        self.scene.check()
        self.scene.close()

    def _note_unheard(self) -> None:
        known = {publish.message for publish in self.notes.publishes}
        visit = next(visit.number for visit in self.notes.visits if visit.joined)
        for number in range(ROOMS):
            room = f"room-{number}"
            for stored in self.scene.stream.all(token_of(room.encode())):
                record = records.parse(record_of(room.encode(), stored.data, stored.seq, 0))
                message = int(record.payload.split(b" ")[0])
                if message not in known:
                    ack = Ack(visit, record.offset, self.tick())
                    # Its member had gone to another host, and may have said more there.
                    gone = [Refusal("Unavailable", ack.at)]
                    self.notes.publishes.append(Publish(message, room, ack.at, 1, [ack], gone))
