"""The broker of a host that shares its rooms: workers on one side, the stream on the other.

Rules. The stream orders and keeps; nothing is kept here that it does not have. Workers notice nothing: to
them this is the broker of one host. A worker that does not read is sent no more records; once it reads
again, its rooms go on at their positions. Without the stream members stay, publishes wait for their time,
and who joins waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from mpchat.broker.broker import wall_ms
from mpchat.broker.busiest import busiest
from mpchat.broker.members import Members
from mpchat.broker.nats.answers import Answers
from mpchat.broker.nats.feed import Feed
from mpchat.broker.nats.feeds import Feeds
from mpchat.broker.nats.history import StreamHistory
from mpchat.broker.nats.hosts import BEAT, Hosts
from mpchat.broker.nats.joining import Joined
from mpchat.broker.nats.outbox import Outbox, Publish
from mpchat.broker.nats.wire import OVERHEAD, pack_body
from mpchat.broker.options import BrokerOptions
from mpchat.broker.pairs import Pair
from mpchat.broker.presence import Hints
from mpchat.broker.traffic import Traffic
from mpchat.ipc.answering import Welcome, pack_ack, pack_lost, pack_mark, pack_refused
from mpchat.ipc.asking import parse_publish
from mpchat.ipc.framing import MalformedFrame
from mpchat.ipc.records import CLOSED, MESSAGE
from mpchat.ipc.rooms import FROM_MEMBER, REPEATED, STORED, Reason
from mpchat.jetstream.api import Ack
from mpchat.jetstream.configuration import epoch_of
from mpchat.jetstream.connection import size_of
from mpchat.jetstream.errors import Unavailable
from mpchat.jetstream.messages import Stored
from mpchat.jetstream.subjects import token_of
from mpchat.scoreboard.broker import ENGINES

_LOOKS: Final = 8
"""Attempts to find when a message was stored, before nobody knows"""
_RECORD_FLAGS: Final = 0xFF ^ FROM_MEMBER

log = logging.getLogger("mpchat.broker")


class NatsBroker:
    """Serves the workers of one host.

    Attributes:
        pairs: By the incarnation of the worker.
        members: Who is where.
        published, repeated, refused: Publishes that the stream has stored, those it had, those refused.
        delivered: Records that were sent to workers.
        lost: How often a worker was so far behind that its rooms had to go on at their positions.
        dropped: Pairs closed because of what they said.
    """

    def __init__(
        self,
        joined: Joined,
        options: BrokerOptions,
        call_soon: Callable[..., object],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        *,
        broken: Callable[[Pair], None] = lambda pair: None,
        wall: Callable[[], int] = wall_ms,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve no pair yet.

        Args:
            joined: The stream.
            options: The limits.
            call_soon: As an event loop's.
            spawn: Runs a coroutine; if it fails, the broker ends.
            broken: Told of a pair that was closed because of what its worker said.
            wall: Milliseconds for people.
            clock: Monotonic seconds.
        """
        self.members = Members()
        self.pairs: dict[int, Pair] = {}
        self.published = self.repeated = self.refused = self.delivered = 0
        self.lost = self.dropped = 0
        self._options = options
        self._call_soon = call_soon
        self._spawn = spawn
        self._broken = broken
        self._clock = clock
        self._api = joined.api
        self._connection = joined.connection
        self._largest = _largest_of(joined)
        self._is_scheduled = False
        self._lost_at: float | None = None
        self._lost_seconds = 0.0
        """Without the stream so far, as far as ``status`` has looked"""
        self._reconnects = 0
        self._traffic = Traffic()
        self._turned_at = self._looked_at = clock()
        self._feeds = Feeds(
            joined.api,
            joined.connection,
            joined.options,
            epoch_of(joined.info),
            self,
            spawn,
            clock,
        )
        self._outbox = Outbox(joined.api, self, spawn, clock)
        self._hints = Hints(self.members, self._write_soon, call_soon)
        self._hosts = Hosts(
            joined.connection, joined.api.subjects, self.members, self._hints, spawn, clock
        )
        history = StreamHistory(joined.api, self._feeds, options.history, wall)
        self._answers = Answers(
            self._feeds,
            history,
            self.members,
            self._hints,
            self._hosts,
            options,
            spawn,
            self._write_soon,
        )
        spawn(self._check(joined.options.check_interval))
        spawn(self._beat())

    # Pairs

    def adopt(self, pair: Pair) -> None:
        """Take a pair, in place of any older one to the same worker."""
        self.worker_gone(pair.incarnation)
        self.pairs[pair.incarnation] = pair

    def worker_gone(self, incarnation: int) -> None:
        """Take the supervisor's word: that worker has ended, whoever may hold its end of the pair."""
        pair = self.pairs.get(incarnation)
        if pair is not None:
            self.lose(pair, "")

    def begin(self, pair: Pair) -> None:
        pair.answer(Welcome(STORED, self._largest, self._feeds.epoch, 0, 0).pack())
        self._write_soon()

    def lose(self, pair: Pair, why: str) -> None:
        if self.pairs.get(pair.incarnation) is not pair:
            return
        del self.pairs[pair.incarnation]
        pair.end()
        if why:
            self.dropped += 1
            log.error("%s is not understood, so its pair is closed: %s", pair, why)
        for name, listed in self.members.drop_all(pair):
            self._hints.left(name, listed)
        for name in list(self._feeds.found):
            self._answers.settle(name)
        if why:
            self._broken(pair)

    # Publishes

    def publish(self, pair: Pair, frame: bytes) -> None:
        counter, flags, room, user, key, payload = parse_publish(frame)
        if flags & FROM_MEMBER and not (pair.waiting or self.members.has(pair, room)):
            self._refuse(pair, Reason.CLOSED, counter)
            return
        if len(room) + len(user) + len(key) + len(payload) > self._largest:
            self._refuse(pair, Reason.SIZE, counter)
            return
        body = pack_body(MESSAGE, flags & _RECORD_FLAGS, user, payload)
        self._put(pair, counter, room, key, body)

    def close(self, pair: Pair, frame: bytes) -> None:
        counter, _, room, *_ = parse_publish(frame)
        self._put(pair, counter, room, b"", pack_body(CLOSED, 0, b"", b""))

    def _put(self, pair: Pair, counter: int, room: bytes, key: bytes, body: bytes) -> None:
        # The stream knows ids for all rooms together: a key is of its room, a token of its worker.
        name = key.hex() if key else f"{pair.token:016x}-{counter:x}"
        deadline = self._clock() + self._options.publish_timeout
        self._outbox.put(Publish(pair, counter, room, token_of(room), name, body, deadline))

    def stored(self, publish: Publish, ack: Ack) -> None:
        """The stream has the message: answer, with the time that it has there."""
        if ack.duplicate:
            self.repeated += 1
        else:
            self.published += 1
        feed = self._feeds.found.get(publish.room)
        if feed is not None and feed.last == ack.seq:
            self._acknowledge(publish, ack, feed.at)
        else:
            self._spawn(self._acknowledge_later(publish, ack))

    async def _acknowledge_later(self, publish: Publish, ack: Ack) -> None:
        stored = await self._find(ack.seq)
        self._acknowledge(publish, ack, 0 if stored is None else stored.at_ms)

    async def _find(self, seq: int) -> Stored | None:
        """Return a message of the stream, which a server may not have yet; None: it is not to be had."""
        pause = 0.01
        for _ in range(_LOOKS):
            try:
                stored = await self._api.message(seq)
            except Unavailable:
                stored = None
            if stored is not None:
                return stored
            await asyncio.sleep(pause)
            pause *= 2
        return None

    def _acknowledge(self, publish: Publish, ack: Ack, at: int) -> None:
        flags = REPEATED if ack.duplicate else 0
        publish.pair.out.append(pack_ack(flags, publish.counter, ack.seq, at))
        self._write_soon()

    def refuse(self, publish: Publish, reason: Reason) -> None:
        """The stream has not stored the message, or nobody knows."""
        self._refuse(publish.pair, reason, publish.counter)

    def _refuse(self, pair: Pair, reason: Reason, counter: int) -> None:
        self.refused += 1
        pair.out.append(pack_refused(reason, counter))
        self._write_soon()

    # Questions

    def ask(self, pair: Pair, frame: bytes) -> None:
        self._answers.ask(pair, frame)
        self._write_soon()

    def resume(self, pair: Pair) -> None:
        self._call_soon(self._catch_up, pair)

    def _catch_up(self, pair: Pair) -> None:
        """Go on with a pair: if it was behind, its rooms do at their positions."""
        if not pair.open:
            return
        pair.read_on()
        if pair.behind is not None:
            if not pair.takes_more:
                return
            self.lost += 1
            pair.behind = None
            self._begin_anew(pair)
        try:
            pair.take_waiting()
        except MalformedFrame as error:
            self.lose(pair, str(error))

    def _begin_anew(self, pair: Pair) -> None:
        self.members.unsubscribe_all(pair)
        pair.answer(pack_lost(0))
        self._write_soon()

    # What comes from the stream

    def deliver(self, feed: Feed, record: bytes, *, closed: bool) -> None:
        """Send the room's next message to the workers with members of it."""
        self._traffic.current[feed.name] += 1
        room = self.members.rooms.get(feed.name)
        for pair in () if room is None else room.targets:
            if pair.behind is None:
                pair.out.append(record)
                self.delivered += 1
        if closed:
            # Its members hear of it, and are gone before anything else is taken.
            self._turn()
            self._hosts.closed(feed.name)
            self.members.close(feed.name)
            self._answers.settle(feed.name)
        else:
            self._write_soon()

    def lose_feed(self, feed: Feed) -> None:
        """Have members of this room come back: what they have missed is gone from the stream."""
        room = self.members.rooms.get(feed.name)
        for pair in () if room is None else room.targets:
            self._begin_anew(pair)

    def mark(self, offset: int, at: int) -> None:
        """Tell the pairs how far all of their rooms were seen: quiet rooms stay near the stream's end."""
        frame = pack_mark(offset, at)
        for pair in self.pairs.values():
            if pair.marked != offset and pair.has_begun and not pair.is_full:
                pair.marked = offset
                pair.out.append(frame)
        self._write_soon()

    async def _check(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self._feeds.check()

    async def _beat(self) -> None:
        while True:
            await self._hosts.beat()
            await asyncio.sleep(BEAT)

    def came_back(self) -> None:
        """The connection to the stream is there again."""
        self._lost_at = None
        self._reconnects += 1
        self._spawn(self._feeds.came_back())
        self._hosts.came_back()

    def was_lost(self) -> None:
        """The connection to the stream is down."""
        if self._lost_at is None:
            self._lost_at = self._clock()

    @property
    def unavailable_since(self) -> float | None:
        """When the stream was lost, in seconds of the clock; None: it answers."""
        times = [at for at in (self._lost_at, self._feeds.failing_since) if at is not None]
        return min(times, default=None)

    async def end(self) -> None:
        """Leave the other hosts, and the stream."""
        await self._hosts.end()
        await self._connection.close()

    # Turns

    def _write_soon(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._call_soon(self._scheduled_turn)

    def _scheduled_turn(self) -> None:
        self._is_scheduled = False
        self._turn()

    def _turn(self) -> None:
        for pair in self.pairs.values():
            if pair.out:
                pair.send()
            if pair.waiting and not pair.is_full:
                self.resume(pair)

    def second(self) -> None:
        """Do what is done each second: count traffic."""
        now = self._clock()
        self._traffic.turn(now - self._turned_at)
        self._turned_at = now

    def status(self) -> dict[str, int]:
        """Return numbers for operators, as the scoreboard names them; counters of this broker alone."""
        lost_at = self.unavailable_since
        now = self._clock()
        if lost_at is not None:
            self._lost_seconds += now - max(lost_at, self._looked_at)
        self._looked_at = now
        feeds = self._feeds
        return {
            "rooms": len(self._feeds.found),
            "members": self.members.total - self._hosts.total,
            "messages": self.published,
            "history_used": 0,
            "history_size": 0,
            "behind": sum(pair.behind is not None for pair in self.pairs.values()),
            "repeated": self.repeated,
            "refused": self.refused,
            "delivered": self.delivered,
            "lost": self.lost,
            "dropped": self.dropped,
            "reconnects": self._reconnects,
            "filled": feeds.filled,
            "replayed": feeds.replayed,
            "foreign": feeds.foreign,
            "retries": self._outbox.retries,
            "stream_lost_ms": int(self._lost_seconds * 1000),
            "engine": ENGINES.index("nats"),
            "stream_lost_at": 0 if lost_at is None else int(lost_at * 1000),
        }

    def busiest(self, by: str, limit: int) -> list[dict[str, Any]]:
        """Return rows of rooms, largest first; see ``busiest``."""
        return busiest(self.members.rooms, self._traffic.rates(), by, limit)


def _largest_of(joined: Joined) -> int:
    """Return the bytes of room, user, key and payload that fit into a stored message."""
    headers = {"Nats-Msg-Id": "f" * 33, "Nats-Expected-Stream": joined.options.stream}
    # The servers take as much, or the stream would not be as the options want it.
    most = joined.options.max_message
    return most - OVERHEAD - size_of(headers)
