"""A stream in memory, and each host's way to it: what NATS does, and what goes wrong on that way.

Rules. As the real one does: a message is stored once for each id; those who are subscribed get it live,
with the sequence of the room's message before; any replica answers a Direct Get with what it has, the
leader with all. A subscription is known to the leader some time after it was sent, or once a barrier has
passed. A test says which live messages are lost, late or doubled, and which questions.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

from mpchat.jetstream.api import MOST_NAMES, Ack, Batch, Changed, Info
from mpchat.jetstream.configuration import wanted
from mpchat.jetstream.connection import Subscription
from mpchat.jetstream.errors import ConnectionLost, NoLeader, NoReply, Refused
from mpchat.jetstream.messages import Message, Stored
from mpchat.jetstream.options import JetStreamOptions

LATENCY: Final = 0.001
"""Seconds for one way between a host and the stream."""
INTEREST: Final = 0.01
"""Seconds until the leader knows of a subscription by itself."""
BEGINNING: Final = 1_764_374_400_000
"""Wall milliseconds at second 0 of the clock."""
UNASKED, UNANSWERED = "unasked", "unanswered"
"""Fates of a question: it does not arrive; its answer does not."""

T = TypeVar("T")
Fate = Exception | str | None
Delays = tuple[float, ...]


class Stream:
    """What all servers together have.

    Attributes:
        options: What every host wants.
        created, metadata: What makes the epoch.
        first_seq, last_seq: As in ``Info``.
        has_leader: Whether anything is stored now.
        refuses: What a publish is refused with.
        is_unheard: Whether a message between hosts is lost on the way to a line.
    """

    def __init__(self, options: JetStreamOptions) -> None:
        self.options = options
        self.created = "2026-11-29T00:00:00.000000001Z"
        self.metadata: dict[str, str] = {}
        self.first_seq, self.last_seq = 1, 0
        self.has_leader = True
        self.refuses: Refused | None = None
        self.is_unheard: Callable[[Line, str, bytes], bool] = lambda line, subject, data: False
        self.lines: list[Line] = []
        self._messages: dict[int, Stored] = {}
        self._rooms: dict[str, list[int]] = {}
        self._ids: dict[str, int] = {}

    @property
    def wall(self) -> int:
        """Wall milliseconds."""
        return BEGINNING + round(asyncio.get_running_loop().time() * 1000)

    def store(self, token: str, data: bytes, name: str = "") -> Ack:
        """Take a message, and send it to who has subscribed."""
        known = self._ids.get(name) if name else None
        if known is not None:
            return Ack(known, True)
        prev = next(iter(self._sequences(token)[-1:]), 0)
        self.last_seq += 1
        stored = Stored(token, self.last_seq, self.wall, data)
        self._messages[stored.seq] = stored
        self._rooms.setdefault(token, []).append(stored.seq)
        if name:
            self._ids[name] = stored.seq
        for line in self.lines:
            line.send_live(stored, prev)
        return Ack(stored.seq, False)

    def expire(self, upto: int | None = None) -> None:
        """Drop the oldest messages, up to this sequence; by default all."""
        upto = self.last_seq if upto is None else min(upto, self.last_seq)
        for seq in range(self.first_seq, upto + 1):
            self._messages.pop(seq, None)
        self.first_seq = max(self.first_seq, upto + 1)

    def go_back(self, to: int) -> None:
        """Be as after message ``to``, as after a restore."""
        for seq in range(to + 1, self.last_seq + 1):
            stored = self._messages.pop(seq, None)
            if stored is not None:
                self._rooms[stored.token].remove(seq)
        self._ids = {name: seq for name, seq in self._ids.items() if seq <= to}
        self.last_seq = to

    def all(self, token: str) -> list[Stored]:
        """Return the messages of a room."""
        return [self._messages[seq] for seq in self._sequences(token)]

    def _sequences(self, token: str) -> list[int]:
        found = self._rooms.get(token, [])
        while found and found[0] < self.first_seq:
            del found[0]
        return found

    def get(self, seq: int) -> Stored | None:
        return self._messages.get(seq)

    def say(self, subject: str, data: bytes) -> None:
        """Send what nobody stores."""
        for line in self.lines:
            if not self.is_unheard(line, subject, data):
                line.send(subject, data)


class Line:
    """A host's connection, as the engine uses one.

    Attributes:
        is_up: As the real one's.
        fate: After how many seconds more a live message comes: () never, (0.0, 0.0) twice.
        has: The last sequence that the server on the other end has; None: all.
        is_cut_off: The server hears nothing of the others.
        left: Reasons why servers were left.
    """

    max_payload = 1024 * 1024

    def __init__(self, stream: Stream, on_up: Callable[[], None], on_lost: Callable[[str], None]):
        self.is_up = True
        self.fate: Callable[[Stored], Delays] = lambda stored: (0.0,)
        self.has: int | None = None
        self.is_cut_off = False
        self.left: list[str] = []
        self.life = 0
        self._stream = stream
        self._on_up, self._on_lost = on_up, on_lost
        self._loop = asyncio.get_running_loop()
        self._subscriptions: dict[Subscription, float] = {}
        """When the leader hears of them"""
        self._due = 0.0
        stream.lines.append(self)

    # As a connection

    async def subscribe(self, subject: str, callback: Callable[[Message], None]) -> Subscription:
        await asyncio.sleep(0)
        subscription = Subscription(subject, callback)
        self._subscriptions[subscription] = self._loop.time() + INTEREST
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        await asyncio.sleep(0)
        self._subscriptions.pop(subscription, None)

    async def publish(self, subject: str, payload: bytes = b"") -> None:
        self.expect_life(self.life)
        await asyncio.sleep(0)
        if not self.is_cut_off:
            self._loop.call_at(self._next(), self._stream.say, subject, payload)

    def leave(self, why: str) -> None:
        self.left.append(why)
        self.lose(0.1)

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.end()

    # For tests

    @property
    def subjects(self) -> list[str]:
        """What is subscribed to."""
        return [subscription.subject for subscription in self._subscriptions]

    def fates(self, *delays: Delays) -> None:
        """Say what becomes of the next live messages."""
        left = deque(delays)
        self.fate = lambda stored: left.popleft() if left else (0.0,)

    def lose(self, seconds: float) -> None:
        """Lose the connection for a while; the next server is none that is cut off or behind."""
        if self.is_up:
            self.is_up = False
            self.life += 1
            self.is_cut_off, self.has = False, None
            self._on_lost("the test says so")
            self._loop.call_later(seconds, self._come_back)

    def end(self) -> None:
        """Be gone, without a word."""
        self.is_up = False
        self.life += 1
        if self in self._stream.lines:
            self._stream.lines.remove(self)

    def cut_off(self) -> None:
        """Have the server lose all others, and not its clients."""
        self.is_cut_off, self.has = True, self._stream.last_seq

    def _come_back(self) -> None:
        if self not in self._stream.lines:
            return
        self.is_up = True
        known_at = self._loop.time() + INTEREST
        self._subscriptions = dict.fromkeys(self._subscriptions, known_at)
        self._on_up()

    # For the stream

    def expect_life(self, life: int) -> None:
        """Raise ConnectionLost unless this is still the same connection."""
        if not self.is_up or life != self.life:
            raise ConnectionLost("the connection is down")

    def know(self) -> None:
        """The leader knows of all subscriptions now."""
        self._subscriptions = dict.fromkeys(self._subscriptions, self._loop.time())

    def send_live(self, stored: Stored, prev: int) -> None:
        subject = self._stream.options.subjects.live(stored.token)
        if not self.is_up or self.is_cut_off:
            return
        seconds, thousandths = divmod(stored.at_ms, 1000)
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=thousandths * 1000)
        headers = {
            "Nats-Sequence": str(stored.seq),
            "Nats-Time-Stamp": moment.isoformat().replace("+00:00", "Z"),
            "Nats-Last-Sequence": str(prev),
        }
        for subscription, known_at in self._subscriptions.items():
            if subscription.subject == subject and known_at <= self._loop.time():
                for delay in self.fate(stored):
                    self._send(subscription, Message(subject, stored.data, headers), delay)

    def send(self, subject: str, data: bytes) -> None:
        for subscription in self._subscriptions:
            if subscription.subject == subject and self.is_up and not self.is_cut_off:
                self._send(subscription, Message(subject, data), 0.0)

    def _send(self, subscription: Subscription, message: Message, delay: float) -> None:
        due = self._next() + delay
        self._loop.call_at(due, self._receive, self.life, subscription, message)

    def _next(self) -> float:
        """Return when the next message comes: what is sent together comes in its order."""
        self._due = max(self._due + 1e-7, self._loop.time() + LATENCY)
        return self._due

    def _receive(self, life: int, subscription: Subscription, message: Message) -> None:
        if self.is_up and life == self.life and subscription in self._subscriptions:
            subscription.callback(message)


class Api:
    """The requests of one host, as the engine makes them.

    Attributes:
        fate: What becomes of a question with this name.
        asked: How often each was asked.
    """

    def __init__(self, line: Line, stream: Stream) -> None:
        self.connection = line
        self.subjects = stream.options.subjects
        self.fate: Callable[[str], Fate] = lambda name: None
        self.asked: Counter[str] = Counter()
        self._stream = stream
        self._held: dict[str, asyncio.Event] = {}

    def fates(self, name: str, *fates: Fate) -> None:
        """Say what becomes of the next questions with a name."""
        before, left = self.fate, deque(fates)
        self.fate = lambda asked: left.popleft() if left and asked == name else before(asked)

    def hold(self, name: str) -> asyncio.Event:
        """Have answers with a name come only once an event is set; they say what was so before."""
        self._held[name] = asyncio.Event()
        return self._held[name]

    async def info(self, timeout: float = 2.0) -> Info:
        return await self._ask("info", timeout, self._info)

    def _info(self) -> Info:
        stream, line = self._stream, self.connection
        leader = "s1" if stream.has_leader and not line.is_cut_off else None
        last = line.has if line.is_cut_off and line.has is not None else stream.last_seq
        # As NATS does, with its defaults.
        config = {**wanted(stream.options), "max_msgs_per_subject": -1}
        first = stream.first_seq
        return Info(stream.created, config, dict(stream.metadata), first, last, leader, True, 3)

    async def publish(self, token: str, payload: bytes, *, id: str, timeout: float = 2.0) -> Ack:
        def store() -> Ack:
            if self._stream.refuses is not None:
                raise self._stream.refuses
            return self._stream.store(token, payload, id)

        return await self._ask("publish", timeout, store, by_leader=True)

    async def barrier(self, timeout: float = 1.0) -> None:
        await self._ask("barrier", timeout, self.connection.know, by_leader=True)

    async def batch(
        self, token: str, seq: int, *, messages: int, max_bytes: int, timeout: float = 1.0
    ) -> Batch:
        def read() -> Batch:
            found = self._there(one for one in self._stream.all(token) if one.seq >= seq)
            page: list[Stored] = []
            held = 0
            for one in found[:messages]:
                page.append(one)
                held += len(one.data)
                if held > max_bytes:
                    break
            return Batch(page, len(found) - len(page), page[-1].seq if page else 0)

        return await self._ask("batch", timeout, read)

    async def changed(self, tokens: Sequence[str], after: int, timeout: float = 2.0) -> Changed:
        assert len(tokens) == len(set(tokens))

        def read(some: Sequence[str]) -> Changed:
            last = {token: found[-1] for token in some if (found := self._there(self._of(token)))}
            changed = {token: one for token, one in last.items() if one.seq > after}
            # About rooms without any message there is no answer.
            return Changed(changed, self._last if last else after)

        found = Changed({}, self._stream.last_seq)
        for start in range(0, len(tokens), MOST_NAMES):
            some = tokens[start : start + MOST_NAMES]
            part = await self._ask("changed", timeout, partial(read, some))
            found = Changed({**found.last, **part.last}, min(found.upto, part.upto))
        return found

    async def message(self, seq: int, timeout: float = 1.0) -> Stored | None:
        def read() -> Stored | None:
            return self._stream.get(seq) if seq <= self._last else None

        return await self._ask("message", timeout, read)

    async def leader_next(self, token: str, seq: int, timeout: float = 2.0) -> Stored | None:
        def read() -> Stored | None:
            return next((one for one in self._of(token) if one.seq >= seq), None)

        return await self._ask("leader_next", timeout, read, by_leader=True)

    async def leader_last(self, token: str, timeout: float = 2.0) -> Stored | None:
        def read() -> Stored | None:
            return next(iter(self._of(token)[-1:]), None)

        return await self._ask("leader_last", timeout, read, by_leader=True)

    async def leader_message(self, seq: int, timeout: float = 2.0) -> Stored | None:
        return await self._ask(
            "leader_message", timeout, lambda: self._stream.get(seq), by_leader=True
        )

    @property
    def _last(self) -> int:
        """What the server that answers stands at."""
        has = self.connection.has
        return self._stream.last_seq if has is None else min(has, self._stream.last_seq)

    def _of(self, token: str) -> list[Stored]:
        return self._stream.all(token)

    def _there(self, messages: Iterable[Stored]) -> list[Stored]:
        last = self._last
        return [one for one in messages if one.seq <= last]

    async def _ask(
        self, name: str, timeout: float, answer: Callable[[], T], *, by_leader: bool = False
    ) -> T:
        line = self.connection
        life = line.life
        line.expect_life(life)
        self.asked[name] += 1
        fate = self.fate(name)
        await asyncio.sleep(LATENCY)
        line.expect_life(life)
        if fate == UNASKED or (by_leader and line.is_cut_off):
            await self._no_reply(name, timeout, life)
        if isinstance(fate, Exception):
            raise fate
        if by_leader and not self._stream.has_leader:
            raise NoLeader("there is no leader")
        found = answer()
        if fate == UNANSWERED:
            await self._no_reply(name, timeout, life)
        if (held := self._held.get(name)) is not None:
            await held.wait()
        await asyncio.sleep(LATENCY)
        line.expect_life(life)
        return found

    async def _no_reply(self, name: str, timeout: float, life: int) -> Any:
        end = asyncio.get_running_loop().time() + timeout
        while asyncio.get_running_loop().time() < end:
            # A loss ends all questions at once.
            await asyncio.sleep(0.05)
            self.connection.expect_life(life)
        raise NoReply(f"no answer to {name} within {timeout} s")
