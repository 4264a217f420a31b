"""What workers ask beside publishing, answered from feeds and the stream.

Rules. A question waits for the stream without holding others up, but a pair's questions about one room
are answered in their order. An answer is a place in the pair's records: it is sent in the turn in which
what it tells was seen, and a member gets what comes later live. Limits stop who joins now, as on one
host. What nobody waits for any more, since the pair has ended, is not answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from mpchat.broker.members import Members
from mpchat.broker.nats.feed import Feed
from mpchat.broker.nats.feeds import Feeds
from mpchat.broker.nats.history import NOT_RECOVERED, StreamHistory, page_of, records_of
from mpchat.broker.nats.hosts import Hosts
from mpchat.broker.options import BrokerOptions
from mpchat.broker.pairs import Pair
from mpchat.broker.presence import Hints, has_presence, members_pages
from mpchat.ipc import asking
from mpchat.ipc import rooms as kinds
from mpchat.ipc.answering import Answer
from mpchat.ipc.framing import MalformedFrame
from mpchat.ipc.rooms import LISTS, MORE, RECOVERED, Listed, Since, Status


class Answers:
    """Answers workers."""

    def __init__(
        self,
        feeds: Feeds,
        history: StreamHistory,
        members: Members,
        hints: Hints,
        hosts: Hosts,
        options: BrokerOptions,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        write_soon: Callable[[], None],
    ) -> None:
        """``write_soon`` has what pairs are told written in this turn."""
        self._feeds = feeds
        self._history = history
        self._members = members
        self._hints = hints
        self._hosts = hosts
        self._options = options
        self._spawn = spawn
        self._write_soon = write_soon
        self._last: dict[tuple[Pair, bytes], asyncio.Event] = {}
        """The end of the last question that a pair has asked about a room"""
        self._joining = 0
        """Members that wait for their room's feed"""

    def ask(self, pair: Pair, frame: bytes) -> None:
        """Answer a frame, now or later.

        Raises:
            MalformedFrame: It is none that a worker sends, or says what cannot be.
        """
        match frame[4]:
            case kinds.JOIN:
                self._join(pair, frame)
            case kinds.LEAVE:
                self._leave(pair, asking.Leave.parse(frame))
            case kinds.SUBSCRIBE:
                self._subscribe(pair, asking.Subscribe.parse(frame))
            case kinds.UNSUBSCRIBE:
                name = asking.Unsubscribe.parse(frame).room
                self._hints.left(name, self._members.drop(pair, name))
                self.settle(name)
            case kinds.HISTORY:
                question = asking.History.parse(frame)
                feed = self._feeds.use(question.room)
                self._spawn(self._read(pair, frame, question, feed))
            case kinds.MEMBERS:
                self._list(pair, asking.Members.parse(frame))
            case kind:
                raise MalformedFrame(f"no worker sends frame {kind}")

    def settle(self, name: bytes) -> None:
        """Tell other hosts of what has changed in the room here, and close an unused feed."""
        self._hosts.touched(name)
        feed = self._feeds.found.get(name)
        if feed is not None and not feed.users and not self._members.is_here(name):
            self._feeds.close(feed)

    @contextlib.asynccontextmanager
    async def _using(self, pair: Pair, feed: Feed) -> AsyncIterator[None]:
        """Wait behind what the pair has asked about this room before, for a feed that is open.

        It ends the use of the feed. If the pair has ended meanwhile, nothing is waited for.
        """
        key = pair, feed.name
        before = self._last.get(key)
        self._last[key] = end = asyncio.Event()
        try:
            if before is not None:
                await before.wait()
            if pair.open:
                await self._feeds.opened(feed)
            yield
        finally:
            end.set()
            if self._last.get(key) is end:
                del self._last[key]
            feed.users -= 1
            self.settle(feed.name)

    def _join(self, pair: Pair, frame: bytes) -> None:
        join = asking.Join.parse(frame)
        listed = None
        if join.info is not None and self._options.presence:
            listed = Listed(pair.incarnation, join.member, join.user, join.info)
        if join.announced:
            if listed is None:
                raise MalformedFrame("an announced member that is not listed")
            self._expect_room_for(1)
            self._members.join_listed(pair, join.room, listed)
            self._hints.resized(join.room)
            self._spawn(self._follow(pair, self._feeds.use(join.room)))
            return
        status = Status.OK
        if self._members.total - self._hosts.total + self._joining >= self._options.max_members:
            status = Status.TOO_MANY_MEMBERS
        elif not self._has_room_for(join.room):
            status = Status.TOO_MANY_ROOMS
        if status is not Status.OK:
            self._answer(pair, Answer(kinds.JOINED, join.number, status=status))
            return
        self._joining += 1
        self._spawn(self._let_in(pair, frame, join, listed, self._feeds.use(join.room)))

    async def _let_in(
        self, pair: Pair, frame: bytes, join: asking.Join, listed: Listed | None, feed: Feed
    ) -> None:
        name = join.room
        try:
            async with self._using(pair, feed):
                if not pair.open:
                    return
                answer = await self._since(feed, join.number, join.since)
                if self._is_too_late(pair, frame):
                    return
                if listed is None:
                    self._members.join(pair, name)
                else:
                    self._members.join_listed(pair, name, listed).subscribe(pair)
                    self._hints.joined(name, listed)
                self._hints.resized(name)
                # That the room was closed since is nothing but not recovered for who joins it now.
                self._answer(pair, self._with_presence(answer._replace(status=Status.OK), name))
        finally:
            self._joining -= 1

    def _is_too_late(self, pair: Pair, frame: bytes) -> bool:
        """Return whether the answer to a frame may not be sent any more.

        It is a place behind the records of this turn. A pair that is full may not send these any more: it
        has its answer when its worker has read, or goes on anew.
        """
        if pair.open and pair.is_full:
            pair.wait(frame)
            self._write_soon()
            return True
        return not pair.open

    async def _follow(self, pair: Pair, feed: Feed) -> None:
        """Have a feed for a room whose members were told."""
        async with self._using(pair, feed):
            pass

    def _leave(self, pair: Pair, leave: asking.Leave) -> None:
        if leave.listed and self._options.presence:
            listed = self._members.leave_listed(pair, leave.room, leave.member)
            self._hints.left(leave.room, [] if listed is None else [listed])
        else:
            self._members.leave(pair, leave.room)
            self._hints.resized(leave.room)
        self.settle(leave.room)

    def _subscribe(self, pair: Pair, subscribe: asking.Subscribe) -> None:
        name = subscribe.room
        self._expect_room_for(subscribe.counted)
        # They are members while the stream is asked, so that they can leave, and get records behind the
        # answer.
        self._members.count(pair, name, subscribe.counted)
        self._members.unsubscribe(pair, name)
        self._hints.resized(name)
        self._spawn(self._resume(pair, subscribe, self._feeds.use(name)))

    async def _resume(self, pair: Pair, subscribe: asking.Subscribe, feed: Feed) -> None:
        name = subscribe.room
        async with self._using(pair, feed):
            if not pair.open:
                return
            answer = await self._since(feed, subscribe.number, subscribe.since)
            if not pair.open:
                return
            if answer.status is Status.CLOSED:
                # The worker lets them all go, and says no more about them.
                self._hints.left(name, self._members.drop(pair, name))
            elif self._members.has(pair, name):
                self._members.subscribe(pair, name)
            self._answer(pair, self._with_presence(answer, name))

    def _expect_room_for(self, members: int) -> None:
        """Raise MalformedFrame if a worker tells of more members than all of them may have."""
        if members > self._options.max_members:
            raise MalformedFrame(f"{members} members in one room")

    def _has_room_for(self, name: bytes) -> bool:
        found = self._feeds.found
        return name in found or len(found) < self._options.max_rooms

    async def _since(self, feed: Feed, number: int, since: Since | None) -> Answer:
        """Return what a member gets that continues from a position, or joins now."""
        recovered, found = since is None, NOT_RECOVERED
        if since is not None:
            found = await self._history.since(feed, since)
            recovered = found.recovered
        offset, at = feed.position
        if not recovered:
            status = Status.CLOSED if found.closed else Status.OK
            return Answer(kinds.JOINED, number, status=status, offset=offset, at=at)
        flags = RECOVERED | (MORE if found.more else 0)
        return Answer(
            kinds.JOINED,
            number,
            flags,
            offset=offset if since is None else since.offset,
            at=at,
            records=b"".join(found.records),
        )

    def _with_presence(self, answer: Answer, name: bytes) -> Answer:
        if self._options.presence and has_presence(self._members, name):
            return answer._replace(flags=answer.flags | LISTS)
        return answer

    async def _read(self, pair: Pair, frame: bytes, question: asking.History, feed: Feed) -> None:
        name = question.room
        async with self._using(pair, feed):
            if not pair.open:
                return
            if question.since is None:
                stored = await self._history.last(feed.token, question.limit)
                found = page_of(records_of(name, stored))
                offset, at = feed.position
            else:
                found = await self._history.since(feed, question.since)
                if found.recovered and len(found.records) > question.limit:
                    found = found._replace(records=found.records[: question.limit], more=True)
                offset, at = feed.position
                if found.recovered:
                    offset = question.since.offset
            if self._is_too_late(pair, frame):
                return
            flags = (RECOVERED if found.recovered else 0) | (MORE if found.more else 0)
            records = b"".join(found.records)
            self._answer(
                pair,
                Answer(
                    kinds.HISTORY_PAGE,
                    question.number,
                    flags,
                    offset=offset,
                    at=at,
                    records=records,
                ),
            )

    def _list(self, pair: Pair, question: asking.Members) -> None:
        for page in members_pages(self._members, question, presence=self._options.presence):
            pair.answer(page.pack())
        self._write_soon()

    def _answer(self, pair: Pair, answer: Answer) -> None:
        pair.answer(answer.pack())
        self._write_soon()
