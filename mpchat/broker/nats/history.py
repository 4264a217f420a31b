"""What the stream has of a room, for those who come back and those who ask.

Rules. A position is good if the stream still has the message that stands there, of whichever room, and
it is of that time: a stream that went back has another one. Then all that came later is there too, since
the stream drops its oldest messages first. The stream is asked before they are read, so that a bad
position costs no reading, and afterwards, since they may have gone meanwhile. The limits of a room's
history hold as they do on one host: whoever has missed more than them is not recovered. A room's end is
the end of what can be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from mpchat.broker.nats.feed import Feed
from mpchat.broker.nats.feeds import Feeds
from mpchat.broker.nats.wire import Foreign, is_closed, record_of
from mpchat.broker.reading import PAGE, Limits
from mpchat.ipc.records import CLOSED
from mpchat.ipc.rooms import Since
from mpchat.jetstream.api import Api
from mpchat.jetstream.filling import anchor, fill, newest
from mpchat.jetstream.messages import Stored


class Found(NamedTuple):
    """Records of a room.

    Attributes:
        recovered: They are all since the position.
        records: The oldest of them, oldest first, up to the bytes of a page, and at least one.
        more: There are others: ask again, from the last one's offset.
        closed: The room was closed since the position.
    """

    recovered: bool
    records: list[bytes]
    more: bool
    closed: bool = False


NOT_RECOVERED = Found(False, [], False)


class StreamHistory:
    """Reads the stream for one host."""

    def __init__(self, api: Api, feeds: Feeds, limits: Limits, wall: Callable[[], int]) -> None:
        """``wall``: milliseconds, for limits of age."""
        self._api = api
        self._feeds = feeds
        self._limits = limits
        self._wall = wall
        self._questions: dict[tuple[int, int], asyncio.Future[bool]] = {}
        """Those about positions that are not answered"""

    async def since(self, feed: Feed, since: Since) -> Found:
        """Return the records of an open feed's room since a position, up to what was seen of it.

        What is delivered meanwhile is among them: nothing comes twice, and nothing is missing.
        """
        if since.epoch != self._feeds.epoch or not await self._feeds.settled(feed, since.offset):
            return NOT_RECOVERED
        if feed.last and (since.offset, since.at) == (feed.last, feed.at):
            return Found(True, [], False)
        feed.readers += 1
        try:
            begun, upto, losses = feed.seen, feed.last, feed.losses
            if not await self._is_good(since):
                return NOT_RECOVERED
            stored: list[Stored] | None = []
            if upto > since.offset:
                read = partial(self._read, feed.token, since.offset, upto)
                stored = await self._feeds.persist(read)
                # What came after the position may have gone before it was read.
                if not await self._ask_about(since):
                    return NOT_RECOVERED
            if stored is None or feed.losses > losses:
                return NOT_RECOVERED
            kept = [record for offset, record in feed.kept if offset > begun]
            if any(record[4] == CLOSED for record in kept):
                return NOT_RECOVERED._replace(closed=True)
            return self._found(feed.name, stored, kept)
        finally:
            feed.readers -= 1
            if not feed.readers:
                feed.kept.clear()

    async def last(self, token: str, most: int) -> list[Stored]:
        """Return the newest messages of a room, as many as its history may have, oldest first."""
        most = min(most, self._limits.messages)
        if not most:
            return []
        stored = await self._feeds.persist(partial(newest, self._api, token, most))
        return self._allowed(stored)

    async def _is_good(self, since: Since) -> bool:
        """Return whether the stream has all since a position, and is the one that gave it.

        Quiet rooms have their position in common, and all of them come back at once.
        """
        position = since.offset, since.at
        question = self._questions.get(position)
        if question is None:
            question = self._questions[position] = asyncio.ensure_future(self._ask_about(since))
            question.add_done_callback(lambda _done: self._questions.pop(position))
        # Who waits no more does not end it for the others.
        return await asyncio.shield(question)

    async def _ask_about(self, since: Since) -> bool:
        if since.at:
            return await self._feeds.persist(partial(anchor, self._api, since.offset, since.at))
        info = await self._feeds.persist(self._api.info)
        return info.first_seq <= since.offset + 1

    async def _read(self, token: str, after: int, upto: int) -> list[Stored] | None:
        """Return the room's messages in this range, None if there are more than its history may have."""
        limits = self._limits
        stored = await fill(
            self._api,
            token,
            after,
            upto,
            most_messages=limits.messages + 1,
            most_bytes=limits.bytes,
        )
        if len(stored) > limits.messages or not stored or stored[-1].seq < upto:
            return None
        return stored

    def _allowed(self, stored: list[Stored]) -> list[Stored]:
        """Return the newest ones that are within the limits of bytes and age, and behind a room's end."""
        held, horizon = self._limits.bytes, self._wall() - self._limits.age
        first = len(stored)
        while first:
            one = stored[first - 1]
            held -= len(one.data)
            if held < 0 or one.at_ms < horizon or is_closed(one.data):
                break
            first -= 1
        return stored[first:]

    def _found(self, room: bytes, stored: list[Stored], kept: list[bytes]) -> Found:
        allowed = self._allowed(stored)
        if len(allowed) < len(stored):
            closed = is_closed(stored[len(stored) - len(allowed) - 1].data)
            return NOT_RECOVERED._replace(closed=closed)
        return page_of([*records_of(room, stored), *kept])


def records_of(room: bytes, stored: list[Stored]) -> list[bytes]:
    """Return the records of messages; what is no message of a room is left out."""
    records = []
    for one in stored:
        try:
            records.append(record_of(room, one.data, one.seq, one.at_ms))
        except Foreign:
            continue
    return records


def page_of(records: list[bytes]) -> Found:
    """Return a page of records that follow a position."""
    held, count = 0, 0
    for record in records:
        held += len(record)
        if count and held > PAGE:
            break
        count += 1
    return Found(True, records[:count], count < len(records))
