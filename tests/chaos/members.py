"""The members of rooms, in a process of their own: ``python -m tests.chaos.members PLAN``.

Each speaks `mpchat.room.v1` in one room, over as many connections as it takes. It comes back with its
position, repeats what is not acknowledged in its order and with the same ids, and now and then acts as if
an acknowledgement had been lost. When standard input ends, nothing new is said; once everybody has seen
everything, or patience is over, they leave, and their notes go to standard output.

What came of it is for the judge to say: members note, and look only whether a message is whole.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from tests.chaos.room_client import RoomClient
from tests.chaos.sightings import MILLION, Ack, Answer, Notes, Publish, Refusal, Visit

_MOST_OPEN = 5
"""Publishes without an answer, beyond which a member says nothing new."""
_MOST_DOUBLED = 5
"""How often the time to the next attempt doubles."""
_LOOK = 0.05
_WATCH = 0.25
_AGAIN = 0.5
"""Seconds after which a refused publish is repeated."""


@dataclass(frozen=True)
class Plan:
    """What the members do.

    Attributes:
        host: The address of the service, or of what stands in front of it.
        first: The number of the first of them, and of its room; several processes have others.
        members: How many there are, in so many ``rooms``, the first of them in the first room.
        opening: How many connect in a second at the beginning.
        rate: Messages that all of them together say in a second, some of them in bursts.
        padding: Most characters that make a message longer than its number.
        cut: Mean seconds after which a member loses its connection by itself; 0: it does not.
        away: Most seconds until it comes back, ``missing``: or, for every third one, most messages, of
            all rooms together, that others are acknowledged meanwhile.
        doubt: Share of acknowledgements that count as lost, so that the publish is repeated later.
        ask: Mean seconds from one question about who is there to the next; 0: nobody asks.
        patience: Seconds that all have at the end to see everything.
        silence: Seconds without a byte after which a member drops a connection, whatever it was told of
            heartbeats, and up to ``unequal`` more, each its own; 0: it does as it was told.
    """

    port: int
    members: int
    rooms: int
    opening: float
    rate: float
    padding: int = 100
    cut: float = 0.0
    away: float = 0.2
    missing: int = 0
    doubt: float = 0.0
    ask: float = 0.0
    patience: float = 10.0
    host: str = "127.0.0.1"
    first: int = 0
    silence: float = 0.0
    unequal: float = 0.0

    def to_argument(self) -> str:
        return json.dumps(asdict(self))


def content(message: int, padding: int) -> dict[str, Any]:
    """Return what is published for a message: now text, now JSON, now bytes, of many lengths."""
    number = message % MILLION
    body = f"{message} {'x' * (number * 7919 % (padding + 1))}"
    if number % 5 == 1:
        return {"base64": base64.b64encode(body.encode()).decode()}
    return {"data": body} if number % 5 == 2 else {"data": [message, body]}


def number_of(frame: dict[str, Any]) -> int:
    """Return which message a frame claims to be."""
    if "base64" in frame:
        return int(base64.b64decode(frame["base64"]).split(b" ")[0])
    data = frame["data"]
    return int(data.split(" ")[0]) if isinstance(data, str) else int(data[0])


class Crowd:
    """All members; ``over`` ends what they say."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = asyncio.get_running_loop()
        self.visits: list[Visit] = []
        self.publishes: dict[int, Publish] = {}
        self.answers: list[Answer] = []
        self.over = asyncio.Event()
        self.leaving = False
        self.acknowledged = 0
        self.ends: dict[tuple[str, str], int] = {}
        """The last offset that anybody knows, by room and epoch"""
        numbers = range(plan.first, plan.first + plan.members)
        self.members = [_Member(self, number) for number in numbers]

    def notes(self) -> Notes:
        return Notes(self.visits, [*self.publishes.values()], self.answers)

    async def run(self) -> None:
        begun = self.loop.time()
        for number, member in enumerate(self.members):
            if self.over.is_set():
                break
            member.begin()
            await asyncio.sleep(max(0.0, begun + number / self.plan.opening - self.loop.time()))
        watch = self.loop.create_task(self._watch())
        await self.over.wait()
        await self._wait(lambda: all(member.is_content for member in self.members))
        self.leaving = True
        for member in self.members:
            member.leave()
        await self._wait(lambda: not any(member.connection for member in self.members))
        watch.cancel()

    async def _wait(self, condition: Callable[[], bool]) -> None:
        end = self.loop.time() + self.plan.patience
        while not condition() and self.loop.time() < end:  # noqa: ASYNC110 - no member knows
            await asyncio.sleep(_LOOK)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH)
            now = time.monotonic()
            for member in self.members:
                if member.connection is not None:
                    member.connection.check(now)


class _Member:
    """One client over all its connections."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.crowd = crowd
        self.number = number
        self.room = f"room-{crowd.plan.first + number % crowd.plan.rooms}"
        self.client = f"member-{number:012}"
        self.silence = crowd.plan.silence + random.uniform(0.0, crowd.plan.unequal)
        self.position = ""
        self.open: dict[int, Publish] = {}
        """What is not acknowledged, or counts as not acknowledged"""
        self.doubted = 0
        """Acknowledgements that will count as lost in a moment"""
        self.said = 0
        self.failures = 0
        """Connections in a row that never got the first frame"""
        self.connection: RoomClient | None = None

    def begin(self) -> None:
        self.connect()
        self._later(1 / self._rate, self._speak)
        if self.crowd.plan.ask:
            self._later(self.crowd.plan.ask, self._ask)
        if self.crowd.plan.cut:
            self._later(self.crowd.plan.cut, self._cut)

    @property
    def is_content(self) -> bool:
        """Whether it is there, has no open questions, and has seen all that anybody knows."""
        if self.connection is None or self.open or self.doubted:
            return False
        visit = self.connection.visit
        return bool(visit.joined) and visit.last >= self.crowd.ends.get(
            (visit.room, visit.epoch), 0
        )

    def connect(self) -> None:
        if not self.crowd.leaving:
            visits = self.crowd.visits
            plan = self.crowd.plan
            number = plan.first * MILLION + len(visits)
            visit = Visit(number, time.monotonic(), member=self.number, room=self.room)
            visit.since = self.position
            visits.append(visit)
            address = plan.host, plan.port
            visit.silence = self.silence
            self.connection = RoomClient(self, address, self.client, visit)
            self.connection.start()

    def joined(self) -> None:
        for publish in sorted(self.open.values(), key=lambda each: each.message):
            self._send(publish)

    def saw(self, frame: dict[str, Any]) -> int:
        message = number_of(frame)
        if any(frame.get(name) != value for name, value in self._content(message).items()):
            raise ValueError(f"message {message} is not what was published")
        self._reached(frame["offset"])
        return message

    def answered(self, answer: Answer) -> None:
        self.crowd.answers.append(answer)

    def lost(self) -> None:
        if self.connection is not None:
            self.position = self.connection.position
            self.failures = 0 if self.connection.visit.joined else self.failures + 1
        self.connection = None
        if not self.crowd.leaving:
            # Not all of them, or nobody would be left to say what is missed.
            missing = self.crowd.plan.missing if self.number % 3 == 0 else 0
            back = self.crowd.acknowledged + random.randint(0, missing)
            # The longer it fails, the longer it waits: a crowd must not be what keeps a service down.
            away = random.uniform(
                0.0, self.crowd.plan.away * 2 ** min(self.failures, _MOST_DOUBLED)
            )
            self.crowd.loop.call_later(away, self._come_back, back)

    def _come_back(self, back: int) -> None:
        if self.crowd.acknowledged < back and not self.crowd.over.is_set():
            self.crowd.loop.call_later(_LOOK, self._come_back, back)
        else:
            self.connect()

    def leave(self) -> None:
        if self.connection is not None:
            self.connection.leave()

    def acknowledged(self, message: int, ack: Ack) -> None:
        self.open.pop(message, None)
        publish = self.crowd.publishes[message]
        publish.acks.append(ack)
        self.crowd.acknowledged += 1
        self._reached(ack.offset)
        if random.random() < self.crowd.plan.doubt and not self.crowd.over.is_set():
            self.doubted += 1
            self.crowd.loop.call_later(random.uniform(0.1, 2.0), self._doubt, publish)

    def refused(self, message: int, reason: str) -> None:
        publish = self.open.get(message)
        if publish is not None:
            publish.refusals.append(Refusal(reason, time.monotonic()))
            self.crowd.loop.call_later(_AGAIN, self._send, publish)

    def _reached(self, offset: int) -> None:
        assert self.connection is not None
        place = (self.room, self.connection.visit.epoch)
        self.crowd.ends[place] = max(offset, self.crowd.ends.get(place, 0))

    def _content(self, message: int) -> dict[str, Any]:
        return content(message, self.crowd.plan.padding)

    def _doubt(self, publish: Publish) -> None:
        self.doubted -= 1
        self.open[publish.message] = publish
        self._send(publish)

    @property
    def _rate(self) -> float:
        return self.crowd.plan.rate / self.crowd.plan.members / 2

    def _speak(self) -> None:
        if self.crowd.over.is_set():
            return
        self._later(1 / self._rate, self._speak)
        if (
            self.connection is not None
            and self.connection.visit.joined
            and len(self.open) < _MOST_OPEN
        ):
            for _ in range(random.randint(1, 3)):
                self.said += 1
                message = self.number * MILLION + self.said
                publish = Publish(message, self.room, time.monotonic())
                self.open[message] = self.crowd.publishes[message] = publish
                self._send(publish)

    def _send(self, publish: Publish) -> None:
        connection = self.connection
        if connection is not None and connection.visit.joined and publish.message in self.open:
            publish.sends += 1
            connection.visit.sent += 1
            frame = {"publish": str(publish.message)}
            connection.say(frame | self._content(publish.message))

    def _ask(self) -> None:
        self._later(self.crowd.plan.ask, self._ask)
        if self.connection is not None and self.connection.visit.joined:
            self.connection.ask()

    def _cut(self) -> None:
        self._later(self.crowd.plan.cut, self._cut)
        if self.connection is not None and not self.crowd.over.is_set():
            self.connection.cut()

    def _later(self, mean: float, call: Callable[[], None]) -> None:
        if not self.crowd.over.is_set():
            self.crowd.loop.call_later(random.expovariate(1 / mean), call)


async def _main(plan: Plan) -> Notes:
    loop = asyncio.get_running_loop()
    crowd = Crowd(plan)
    loop.add_reader(sys.stdin.fileno(), crowd.over.set)
    running = asyncio.create_task(crowd.run())
    await crowd.over.wait()
    loop.remove_reader(sys.stdin.fileno())
    await running
    return crowd.notes()


if __name__ == "__main__":
    uvloop.run(_main(Plan(**json.loads(sys.argv[1])))).write(sys.stdout)
