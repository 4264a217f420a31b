"""Hosts with their brokers on one stream in memory, and workers whose pairs are wires."""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, TypeVar, cast

from mpchat.broker.nats.broker import NatsBroker
from mpchat.broker.nats.joining import Joined
from mpchat.broker.nats.wire import pack_body
from mpchat.broker.pairs import Pair
from mpchat.ipc import answering, asking, records
from mpchat.ipc import rooms as kinds
from mpchat.ipc.framing import Frames, split_frames
from mpchat.ipc.rooms import Since
from mpchat.jetstream.api import Api as RealApi
from mpchat.jetstream.connection import Connection
from mpchat.jetstream.options import JetStreamOptions
from mpchat.jetstream.subjects import token_of
from tests.kit.acks import parse_ack
from tests.unit.broker.nats import clock
from tests.unit.broker.nats.clock import until
from tests.unit.broker.nats.stream import Api, Line, Stream
from tests.unit.broker.rig import OPTIONS, Wire

T = TypeVar("T")
STREAM = JetStreamOptions.model_validate({"servers": ["nats://127.0.0.1:4222"]})


def added(found: list[T], more: Iterable[T]) -> list[T]:
    """Return the list, with more in it."""
    found.extend(more)
    return found


class Worker:
    """A worker's end of a pair.

    Attributes:
        told: Frames that have come and were not taken.
    """

    def __init__(self, host: Host, incarnation: int) -> None:
        self.host, self.incarnation = host, incarnation
        self._socket = socket.socket()
        self.pair = Pair(
            host.broker,
            self._socket,
            number=incarnation,
            incarnation=incarnation,
            slot=0,
            backlog=host.options.worker_backlog,
        )
        host.broker.adopt(self.pair)
        self.wire = Wire(self.pair)
        self.pair.connection_made(self.wire)
        self.told: list[bytes] = []
        self._frames = Frames()
        self._numbers = 0
        self.say(asking.Hello(incarnation, host.number << 32 | incarnation).pack())

    def say(self, *frames: bytes) -> None:
        self.pair.data_received(b"".join(frames))

    def hear(self) -> list[bytes]:
        """Return all frames that have come and were not taken."""
        sent, self.wire.sent = self.wire.sent, []
        if sent:
            self.told += self._frames.cut(b"".join(sent))
        return self.told

    def take(self, kind: int) -> list[bytes]:
        """Take the frames of a kind; 0: records."""
        found, self.told = self.hear(), []
        for frame in found:
            if (frame[4] if frame[4] >= 16 else 0) != kind:
                self.told.append(frame)
        return [frame for frame in found if (frame[4] if frame[4] >= 16 else 0) == kind]

    async def get(self, kind: int, count: int = 1) -> list[bytes]:
        """Take the next frames of a kind, of which so many have to come."""
        found: list[bytes] = []

        def enough() -> bool:
            found.extend(self.take(kind))
            return len(found) >= count

        await until(enough)
        return found

    def payloads(self) -> list[bytes]:
        """Take the records, and return what they say."""
        return [records.parse(frame).payload for frame in self.take(0)]

    def changes(self) -> list[kinds.Change]:
        """Take the hints about presence."""
        found = [answering.Presence.parse(frame) for frame in self.take(kinds.PRESENCE)]
        return [hint.change for hint in found]

    async def receive(self, count: int) -> list[bytes]:
        """Return what the next records say, which have to be so many."""
        found: list[bytes] = []

        def enough() -> bool:
            found.extend(self.payloads())
            return len(found) >= count

        await until(enough)
        assert len(found) == count
        return found

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    async def join(
        self,
        room: bytes,
        member: int = 1,
        *,
        since: Since | None = None,
        info: bytes | None = None,
        user: bytes = b"",
    ) -> answering.Answer:
        frame = asking.Join(self.number(), room, member, since, user, info).pack()
        self.say(frame)
        return await self.answer(kinds.JOINED)

    async def subscribe(
        self, room: bytes, counted: int = 1, since: Since | None = None
    ) -> answering.Answer:
        self.say(asking.Subscribe(self.number(), room, counted, since).pack())
        return await self.answer(kinds.JOINED)

    async def history(
        self, room: bytes, limit: int = 1000, since: Since | None = None
    ) -> answering.Answer:
        self.say(asking.History(self.number(), room, limit, since).pack())
        return await self.answer(kinds.HISTORY_PAGE)

    async def members(self, room: bytes) -> answering.MembersPage:
        self.say(asking.Members(self.number(), room).pack())
        (page,) = map(answering.MembersPage.parse, await self.get(kinds.MEMBERS_PAGE))
        return page

    async def answer(self, kind: int) -> answering.Answer:
        """Return the answer to the last question; others are lost."""
        found: list[answering.Answer] = []

        def has_come() -> bool:
            found.extend(map(answering.Answer.parse, self.take(kind)))
            return any(answer.number == self._numbers for answer in found)

        await until(has_come)
        return next(answer for answer in found if answer.number == self._numbers)

    def begin(self, room: bytes, payload: bytes = b"hi", **other: Any) -> int:
        """Publish without waiting, and return the counter."""
        self.host.counters[self.incarnation] += 1
        counter = self.host.counters[self.incarnation]
        self.say(asking.pack_publish(counter, room, payload, **other))
        return counter

    async def publish(self, room: bytes, payload: bytes = b"hi", **other: Any) -> Since:
        """Publish, and return the position."""
        counter = self.begin(room, payload, **other)
        flags, _, offset, at = await self.ack(counter)
        del flags
        return Since(self.host.epoch, offset, at)

    async def ack(self, counter: int) -> tuple[int, int, int, int]:
        found: list[tuple[int, int, int, int]] = []

        def has_come() -> bool:
            found.extend(map(parse_ack, self.take(kinds.ACK)))
            return any(ack[1] == counter for ack in found)

        await until(has_come)
        return next(ack for ack in found if ack[1] == counter)

    async def refusal(self, counter: int) -> kinds.Reason:
        ((reason, refused),) = map(answering.parse_refused, await self.get(kinds.REFUSED))
        assert refused == counter
        return reason

    def die(self) -> None:
        """End as a process does."""
        self.pair.connection_lost(None)

    def close(self) -> None:
        self._socket.close()


class Host:
    """One host: a broker, which may be killed, and its line to the stream."""

    def __init__(self, scene: Scene, number: int, **options: Any) -> None:
        self.scene, self.number = scene, number
        self.options = replace(OPTIONS, **options)
        self.counters: defaultdict[int, int] = defaultdict(int)
        self.failures: list[BaseException] = []
        self.broken: list[Pair] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.start()

    def start(self) -> None:
        """Begin with a new broker."""
        stream, loop = self.scene.stream, asyncio.get_running_loop()
        self.line = Line(stream, self._on_up, lambda why: self.broker.was_lost())
        self.api = Api(self.line, stream)
        joined = Joined(
            cast(Connection, self.line), cast(RealApi, self.api), stream.options, self.api._info()
        )
        self.broker = NatsBroker(
            joined,
            self.options,
            loop.call_soon,
            self.spawn,
            broken=self.broken.append,
            wall=lambda: stream.wall,
            clock=loop.time,
        )

    def _on_up(self) -> None:
        self.broker.came_back()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)

    def kill(self) -> None:
        """End the broker as if its process were killed."""
        self.line.end()
        for task in self._tasks:
            task.cancel()
        for pair in list(self.broker.pairs.values()):
            pair.open = False

    def worker(self, incarnation: int = 1) -> Worker:
        worker = Worker(self, incarnation)
        self.scene.workers.append(worker)
        return worker

    @property
    def epoch(self) -> str:
        return self.broker._feeds.epoch


class Scene:
    """The stream, the hosts, and what becomes of them."""

    def __init__(self) -> None:
        self.stream = Stream(STREAM)
        self.hosts: list[Host] = []
        self.workers: list[Worker] = []
        self.errors: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(self._note)

    def host(self, **options: Any) -> Host:
        self.hosts.append(Host(self, len(self.hosts) + 1, **options))
        return self.hosts[-1]

    def store(self, room: bytes, payload: bytes) -> int:
        """Have somebody else publish, and return the sequence."""
        return self.stream.store(token_of(room), pack_body(1, 0, b"", payload)).seq

    def check(self) -> None:
        """Raise what has failed in a callback, or in what a broker does by itself."""
        failures = [*self.errors, *(error for host in self.hosts for error in host.failures)]
        if failures:
            raise failures[0]

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context.get("exception") or RuntimeError(context["message"]))

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def said(answer: answering.Answer) -> list[bytes]:
    """Return what the records of an answer say."""
    return [records.parse(frame).payload for frame in split_frames(answer.records)]


def scene(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Give a test a scene, in a loop of its own whose time costs nothing."""

    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> None:
        async def play() -> None:
            found = Scene()
            try:
                await test(found, *args, **named)
                found.check()
            finally:
                found.close()

        clock.run(play())

    signature = inspect.signature(test)
    _scene, *others = signature.parameters.values()
    run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
    return run
