"""The feeds of one host: opened, kept whole, and checked against the stream.

Rules. A feed is open once a barrier has passed through the stream behind its subscription, and its
newest message was asked for: before, a message could be missed without a sign. What was missed is filled
in before anything newer is delivered. A quiet room's lost last message has no successor to show it, so
each ``check-interval`` the newest messages of all rooms that have changed since the last check are asked
for, and the stream's leader as well: a server that is cut off answers as if all were well. What the
stream no longer has is lost, and never passed over in silence. A stream that is another one, or has gone
back, ends the broker: its rooms go on only at positions that the stream has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from mpchat.broker.nats.feed import Feed, Verdict
from mpchat.broker.nats.wire import Foreign, is_closed, record_of
from mpchat.jetstream.api import MOST_NAMES, Api, Info
from mpchat.jetstream.configuration import differences, epoch_of, wanted
from mpchat.jetstream.connection import Connection, Subscription
from mpchat.jetstream.errors import Malformed, NoLeader, Unavailable
from mpchat.jetstream.filling import fill
from mpchat.jetstream.messages import Live, Message, Stored, live_of
from mpchat.jetstream.options import JetStreamOptions
from mpchat.jetstream.subjects import token_of

_FIRST_PAUSE, _LAST_PAUSE = 0.02, 0.5
"""Seconds between two attempts"""
_PATIENCE = 5.0
"""Seconds in which a server has told of no leader, after which another one is tried"""
_STATE_LIMIT = 1.0
"""Seconds for an answer about the stream; what is asked while there is no leader is not answered later"""
_COMPARED = 10.0
"""Seconds between two comparisons of the stream's configuration"""

T = TypeVar("T")
log = logging.getLogger("mpchat.broker")


class OtherStream(Exception):
    """The stream is not the one that this broker began with."""


class Lagging(Unavailable):
    """The server that answered has not got everything yet."""


class Look(NamedTuple):
    """What the stream has of some rooms.

    Attributes:
        last: The newest messages of those that have changed, by token.
        first: Sequence of the oldest message that the stream has, or had while it was looked at.
        mark: All up to this sequence is told.
        at: When the message at ``mark`` was stored, in wall milliseconds; 0: there is none.
    """

    last: dict[str, Stored]
    first: int
    mark: int
    at: int


class Audience(Protocol):
    """Who is told of messages."""

    def deliver(self, feed: Feed, record: bytes, *, closed: bool) -> None:
        """The room's next message."""

    def lose_feed(self, feed: Feed) -> None:
        """Messages of this room are gone from the stream before they were seen."""

    def mark(self, offset: int, at: int) -> None:
        """All rooms were seen up to this offset, where something was stored at that time."""


class Feeds:
    """See the module.

    Attributes:
        epoch: Which stream this is.
        found: By room.
        replayed, filled, foreign: Messages that came again, that had to be asked for, that are no room's.
        failing_since: When the stream could not be asked for the first time in a row; None: it can.
    """

    def __init__(
        self,
        api: Api,
        connection: Connection,
        options: JetStreamOptions,
        epoch: str,
        audience: Audience,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        clock: Callable[[], float],
    ) -> None:
        self.epoch = epoch
        self.found: dict[bytes, Feed] = {}
        self.replayed = self.filled = self.foreign = 0
        self.failing_since: float | None = None
        self._api = api
        self._connection = connection
        self._subjects = api.subjects
        self._options = options
        self._audience = audience
        self._spawn = spawn
        self._clock = clock
        self._subscriptions: dict[Feed, Subscription] = {}
        self._new: list[Feed] = []
        self._is_opening = False
        self._opened = asyncio.Condition()
        self._marked = 0
        """All feeds have seen everything up to here, also those that open later"""
        self._highest = 0
        """No message that was told has a higher sequence"""
        self._is_back = False
        """The stream stood lower when it was asked last"""
        self._compared_at = self._led_at = clock()

    # For questions

    def use(self, name: bytes) -> Feed:
        """Return the room's feed, which may not be open yet, with one user more."""
        feed = self.found.get(name)
        if feed is None:
            feed = self.found[name] = Feed(name, token_of(name))
            self._new.append(feed)
            if not self._is_opening:
                self._is_opening = True
                self._spawn(self._open_new())
        feed.users += 1
        return feed

    async def opened(self, feed: Feed) -> None:
        """Return once a feed is open; it has to have a user."""
        if not feed.is_open:
            async with self._opened:
                await self._opened.wait_for(lambda: feed.is_open)

    def close(self, feed: Feed) -> None:
        """Nobody needs this feed any more."""
        if self.found.get(feed.name) is feed:
            del self.found[feed.name]
        subscription = self._subscriptions.pop(feed, None)
        if subscription is not None:
            self._spawn(self._connection.unsubscribe(subscription))

    async def settled(self, feed: Feed, offset: int) -> bool:
        """Have the room seen up to ``offset``, if the stream has that; return whether it has."""
        while offset > feed.seen:
            look = await self.persist(partial(self._look_back, [feed.token], feed.seen))
            if offset > look.mark:
                return False
            await self._catch_up([feed], look)
            if feed.is_busy:
                # It fills in what it has missed, perhaps less than this.
                await asyncio.sleep(_FIRST_PAUSE)
        return True

    async def persist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer."""
        pause = _FIRST_PAUSE
        while True:
            try:
                answer = await ask()
            except Unavailable as error:
                now = self._clock()
                if self.failing_since is None and not isinstance(error, Lagging):
                    self.failing_since = now
                    log.warning("the stream %s cannot be asked: %s", self._options.stream, error)
                if now > self._led_at + _PATIENCE and self._connection.is_up:
                    # A server that is cut off from the others keeps its clients, and never says so.
                    self._connection.leave(str(error))
                    # The next one has its own time.
                    self._led_at = now
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)
            else:
                if self.failing_since is not None:
                    seconds = self._clock() - self.failing_since
                    log.info(
                        "the stream %s answers again, after %.1f s", self._options.stream, seconds
                    )
                    self.failing_since = None
                return answer

    # Opening

    async def _open_new(self) -> None:
        try:
            while self._new:
                new, self._new = self._new, []
                for feed in new:
                    self._subscriptions[feed] = await self._subscribe(feed)
                await self.persist(self._api.barrier)
                tokens = [feed.token for feed in new]
                look = await self.persist(partial(self._look_behind_mark, tokens))
                for feed in new:
                    feed.seen = look.mark
                    stored = look.last.get(feed.token)
                    if stored is not None:
                        feed.stands_at(stored, closed=is_closed(stored.data))
                    feed.is_open = True
                    self._go_on(feed)
                async with self._opened:
                    self._opened.notify_all()
        finally:
            self._is_opening = False

    async def _look_behind_mark(self, tokens: list[str]) -> Look:
        """Look at rooms that are new here: what was told of all rooms holds for them, too."""
        look = await self._look(tokens, 0)
        if look.mark < self._marked:
            raise Lagging(f"an answer from {look.mark}, and {self._marked} was told since")
        return look

    async def _subscribe(self, feed: Feed) -> Subscription:
        subject = self._subjects.live(feed.token)
        return await self._connection.subscribe(subject, partial(self._on_message, feed))

    # What comes live

    def _on_message(self, feed: Feed, message: Message) -> None:
        try:
            live = live_of(message)
        except Malformed as error:
            self.foreign += 1
            log.warning("%s", error)
            return
        if feed.is_open and not feed.is_busy:
            self._take(feed, live)
        else:
            feed.hold(live)

    def _take(self, feed: Feed, live: Live) -> None:
        match feed.judge(live):
            case Verdict.SEEN:
                self.replayed += 1
            case Verdict.NEXT:
                self._deliver(feed, live)
            case Verdict.GAP | Verdict.ALONE:
                feed.hold_first(live)
                feed.is_busy = True
                self._spawn(self._fill(feed, live.prev))

    def _go_on(self, feed: Feed) -> None:
        """Take what has waited."""
        while not feed.is_busy and (live := feed.release()) is not None:
            self._take(feed, live)

    def _deliver(self, feed: Feed, stored: Stored) -> None:
        try:
            record = record_of(feed.name, stored.data, stored.seq, stored.at_ms)
        except Foreign as error:
            self.foreign += 1
            subject = self._subjects.stored(feed.token)
            log.warning("%s: message %d is no room's: %s", subject, stored.seq, error)
            feed.seen = stored.seq
            return
        closed = is_closed(stored.data)
        feed.stands_at(stored, closed=closed)
        self._highest = max(self._highest, stored.seq)
        if feed.readers:
            feed.kept.append((stored.seq, record))
        self._audience.deliver(feed, record, closed=closed)

    async def _fill(self, feed: Feed, upto: int) -> None:
        """Deliver what was missed, up to a message that the stream has told of, then what has waited."""
        try:
            first, missed = await self.persist(partial(self._missed, feed, upto))
            if self.found.get(feed.name) is not feed:
                # It was closed; the room's next feed, if there is one, begins where it opens.
                feed.held.clear()
                return
            self._see_from(feed, first)
            for stored in missed:
                # Of what is gone by now, the last ones may be lacking.
                if stored.seq > feed.seen:
                    self.filled += 1
                    self._deliver(feed, stored)
            feed.seen = max(upto, first - 1, feed.seen)
            if feed.held and feed.held[0].prev <= feed.seen:
                # It is proved now, even if it has no message before it.
                live = feed.release()
                if live is not None and live.seq > feed.seen:
                    self._deliver(feed, live)
        finally:
            feed.is_busy = False
        self._go_on(feed)

    def _see_from(self, feed: Feed, first: int) -> None:
        """Say that messages may be gone, if the stream begins behind what was seen."""
        if first > feed.seen + 1:
            log.error(
                "the room %r: the stream begins at %d, and %d was the last that was seen",
                feed.name.decode(errors="replace"),
                first,
                feed.seen,
            )
            feed.lose(first)
            self._audience.lose_feed(feed)

    async def _missed(self, feed: Feed, upto: int) -> tuple[int, list[Stored]]:
        """Return the first sequence that the stream still has, and the room's messages since ``seen``.

        The sequence is asked for afterwards: what it has then, it had before.
        """
        missed = []
        if upto > feed.seen:
            missed = await fill(self._api, feed.token, feed.seen, upto)
        info = await self._api.info()
        return info.first_seq, missed

    # Looking

    async def _look(self, tokens: Iterable[str], after: int) -> Look:
        """Return the newest messages of these rooms that came after a sequence.

        The stream's newest message is asked for as well: only a server that has it has all before it.
        """
        info = await self._state()
        if info.last_seq < info.first_seq or not info.last_seq:
            return Look({}, info.first_seq, info.last_seq, 0)
        newest = await self._api.message(info.last_seq)
        if newest is None:
            raise Lagging(f"a server has no message {info.last_seq} yet")
        last: dict[str, Stored] = {}
        names = sorted({*tokens} - {newest.token})
        for start in range(0, max(1, len(names)), MOST_NAMES - 1):
            # An answer only about rooms without messages does not say how far it goes.
            some = [newest.token, *names[start : start + MOST_NAMES - 1]]
            changed = await self._api.changed(some, after)
            if changed.upto < info.last_seq:
                text = f"a server stands at {changed.upto}, and the stream at {info.last_seq}"
                raise Lagging(text)
            last |= changed.last
        return Look(last, info.first_seq, info.last_seq, newest.at_ms)

    async def _look_back(self, tokens: Iterable[str], after: int) -> Look:
        """Look, and ask afterwards where the stream begins: what it has then, it had meanwhile."""
        look = await self._look(tokens, after)
        info = await self._api.info(_STATE_LIMIT)
        return look._replace(first=min(info.first_seq, look.mark + 1))

    async def _state(self) -> Info:
        """Return the state of the stream, as its leader knows it.

        Raises:
            OtherStream: It is not the one that it was.
        """
        # What comes meanwhile may be newer than the answer.
        highest = self._highest
        info = await self._api.info(_STATE_LIMIT)
        if epoch_of(info) != self.epoch:
            raise OtherStream(f"the stream {self._options.stream} was made anew")
        if not info.has_leader:
            raise NoLeader("the stream has no leader, or this server does not hear of it")
        self._led_at = self._clock()
        if info.last_seq < highest:
            text = (
                f"the stream {self._options.stream} has gone back from {highest} to {info.last_seq}"
            )
            if self._is_back:
                raise OtherStream(text)
            # A new leader may answer before it has everything.
            self._is_back = True
            raise Lagging(text)
        self._is_back = False
        self._highest = max(self._highest, info.last_seq)
        self._compare(info)
        return info

    def _compare(self, info: Info) -> None:
        if self._clock() - self._compared_at >= _COMPARED:
            self._compared_at = self._clock()
            for line in differences(wanted(self._options), info.config):
                log.error("the stream %s was changed: %s", self._options.stream, line)

    async def check(self) -> None:
        """Find what was missed in silence, and tell how far all rooms were seen."""
        feeds = [feed for feed in self.found.values() if feed.is_open]
        if not feeds:
            await self.persist(self._state)
            return
        tokens = [feed.token for feed in feeds]
        after = min(feed.seen for feed in feeds)
        look = await self.persist(partial(self._look_back, tokens, after))
        await self._catch_up(feeds, look)
        feeds = [feed for feed in self.found.values() if feed.is_open]
        if look.mark >= self._marked and all(feed.seen >= look.mark for feed in feeds):
            self._marked = look.mark
            self._audience.mark(look.mark, look.at)

    async def came_back(self) -> None:
        """The connection was lost, and is there again: nothing newer is believed before a barrier."""
        await self.persist(self._api.barrier)
        await self.check()

    async def _catch_up(self, feeds: list[Feed], look: Look) -> None:
        """Fill in what a look has shown; a feed that is busy has its turn with the next look."""
        idle = [feed for feed in feeds if not feed.is_busy]
        filling = []
        for feed in idle:
            stored = look.last.get(feed.token)
            if stored is not None and stored.seq > feed.seen:
                feed.is_busy = True
                filling.append(self._fill(feed, stored.seq))
            else:
                # Nothing of the room may be left that would show what is gone.
                self._see_from(feed, look.first)
                feed.seen = max(feed.seen, look.mark)
        if filling:
            await asyncio.gather(*filling)
        for feed in idle:
            feed.seen = max(feed.seen, look.mark)
