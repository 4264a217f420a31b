"""Who is in the rooms of this host, in the workers of other hosts.

Rules. Each host tells all others with members of a room who is there, by messages that nobody stores. An
announcement has a number: what does not follow the last one makes its receiver ask for all, and so does
a host that is new in a room. The last number is said again each minute, so a lost announcement is found;
of a room that it has left, a host says nothing for ``_FORGOTTEN``. A host that has said nothing at all
for ``_SILENCE`` has no members. All of it is counted as if the other host were one more worker, which
gets no records from here.

    mpchat.ctl.STREAM.host          {"host": H}, each two seconds; {"host": H, "gone": true} at the end
    mpchat.ctl.STREAM.room.TOKEN    {"ask": true, "host": H}: who is there?
                                    {"host": H, "n": 5, "counted": 3, "joined": [[member, user, info], …],
                                    "left": [member, …]}: since announcement 4; with "all": true, all
                                    {"host": H, "n": 5}: that was the last one
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Final

from mpchat.broker.members import Elsewhere, Members, Room
from mpchat.broker.presence import Hints, has_presence
from mpchat.ipc.rooms import Listed
from mpchat.jetstream.connection import Connection, Subscription
from mpchat.jetstream.errors import Unavailable
from mpchat.jetstream.messages import Message
from mpchat.jetstream.subjects import Subjects, token_of

BEAT: Final = 2.0
"""Seconds between two signs of life"""
_SILENCE: Final = 3.5 * BEAT
_AGAIN: Final = 60.0
"""Seconds after which the number of a room's last announcement is said again"""
_FORGOTTEN: Final = 2.5 * _AGAIN
_PAGE: Final = 256 * 1024
"""Bytes of members in one announcement, and one more member"""
_MEMBER_BITS: Final = 40
"""Bits of a worker's number of a member; those above are the worker's"""

_NUMBER_BITS: Final = 48
"""Bits of the number before a room's first announcement"""

_Key = int
log = logging.getLogger("mpchat.broker")


class _Other(Elsewhere):
    """Another host, and the number of its last announcement for each room, and when it was said last."""

    def __init__(self) -> None:
        self.heard_at = 0.0
        self.numbers: dict[bytes, int] = {}
        self.said_at: dict[bytes, float] = {}


class _Said:
    """What this host has announced of a room."""

    def __init__(self) -> None:
        # Who comes back to a room does not go on with its numbers of before.
        self.number = secrets.randbits(_NUMBER_BITS)
        self.at = 0.0
        self.counted = 0
        self.lists = True
        self.listed: dict[_Key, Listed] = {}
        self.subscription: Subscription | None = None
        self.asks = self.is_asked = True


class Hosts:
    """See the module.

    Attributes:
        total: Memberships of other hosts in the rooms of this one.
    """

    def __init__(
        self,
        connection: Connection,
        subjects: Subjects,
        members: Members,
        hints: Hints,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        clock: Callable[[], float],
    ) -> None:
        self.total = 0
        self._connection = connection
        self._subjects = subjects
        self._members = members
        self._hints = hints
        self._spawn = spawn
        self._clock = clock
        self._name = secrets.token_hex(8)
        self._others: dict[str, _Other] = {}
        self._said: dict[bytes, _Said] = {}
        self._touched: dict[bytes, None] = {}
        self._is_telling = False
        self._is_followed = False
        self._looked_at = clock()

    def touched(self, name: bytes) -> None:
        """Something has changed about this host's members of the room, or may have."""
        self._touched[name] = None
        if not self._is_telling:
            self._is_telling = True
            self._spawn(self._tell_all())

    def closed(self, room: bytes) -> None:
        """The room ends: who is in it from now on is not known of any host."""
        self._forget_room(room)
        if (said := self._said.get(room)) is not None:
            # Another host may have begun it anew, and said so, before we heard of the end.
            said.asks = said.is_asked = True

    async def beat(self) -> None:
        """Give a sign of life, and forget hosts that give none; each ``BEAT`` seconds."""
        now = self._clock()
        for name, other in list(self._others.items()):
            if now - other.heard_at > _SILENCE:
                self._forget(name)
        if now - self._looked_at > _AGAIN:
            self._looked_at = now
            self._forget_left(now - _FORGOTTEN)
        # What cannot be said now is said again when the connection is there; the others expire meanwhile,
        # as this host does for them.
        with contextlib.suppress(Unavailable):
            if not self._is_followed:
                await self._connection.subscribe(self._subjects.control("host"), self._on_host)
                self._is_followed = True
            await self._say("host", {})
            for room, said in list(self._said.items()):
                if now - said.at > _AGAIN:
                    said.at = now
                    await self._say_of(room, {"n": said.number})

    async def end(self) -> None:
        """Tell the others that this host has no members any more."""
        with contextlib.suppress(Unavailable):
            await self._say("host", {"gone": True})

    def came_back(self) -> None:
        """The connection was lost: what was said meanwhile was not heard, by either side."""
        for room, said in self._said.items():
            said.asks = said.is_asked = True
            self.touched(room)

    # Telling

    async def _tell_all(self) -> None:
        try:
            while self._touched:
                room = next(iter(self._touched))
                del self._touched[room]
                await self._tell(room)
        finally:
            self._is_telling = False

    async def _tell(self, room: bytes) -> None:
        said = self._said.get(room)
        if not self._members.is_here(room):
            if said is not None:
                await self._leave(room, said)
            return
        if said is None:
            said = self._said[room] = _Said()
        try:
            if said.subscription is None:
                said.subscription = await self._connection.subscribe(
                    self._subjects.control(f"room.{token_of(room)}"), partial(self._on_room, room)
                )
            if said.asks:
                said.asks = False
                await self._say_of(room, {"ask": True})
            await self._announce(room, said)
        except Unavailable:
            # Once the connection is there again, all is said again.
            said.asks = said.is_asked = True

    async def _leave(self, room: bytes, said: _Said) -> None:
        """No worker of this host has members in the room any more: who else has does not matter here."""
        del self._said[room]
        self._forget_room(room)
        with contextlib.suppress(Unavailable):
            await self._announce(room, said)
            if said.subscription is not None:
                await self._connection.unsubscribe(said.subscription)

    async def _announce(self, room: bytes, said: _Said) -> None:
        """Say what has changed since the last announcement, or all, in one or several messages."""
        counted, listed = self._ours(room)
        old = {} if said.is_asked else said.listed
        joined = [(key, one) for key, one in listed.items() if old.get(key) != one]
        left = [key for key in old if key not in listed]
        if not (said.is_asked or joined or left or counted != said.counted):
            return
        whole, said.is_asked = said.is_asked, False
        said.lists = has_presence(self._members, room)
        said.counted, said.listed, said.at = counted, listed, self._clock()
        while True:
            page, joined = _page(joined)
            said.number += 1
            words: dict[str, Any] = {"n": said.number, "counted": counted, "joined": page}
            if whole:
                words["all"] = True
            if left:
                words["left"] = left
            await self._say_of(room, words)
            whole, left = False, []
            if not joined:
                return

    def _ours(self, room: bytes) -> tuple[int, dict[_Key, Listed]]:
        """Return the members without info that workers of this host have, and those with one."""
        found = self._members.rooms.get(room)
        if not isinstance(found, Room):
            return int(self._members.is_here(room)), {}
        counted = sum(
            count for holder, count in found.counted.items() if not isinstance(holder, Elsewhere)
        )
        ours = [one for holder, one in found.listed.items() if not isinstance(holder, Elsewhere)]
        listed = {_key_of(member): member for members in ours for member in members.values()}
        if not found.lists:
            # Presence is off in this room: its members are a number.
            return counted + len(listed), {}
        return counted, listed

    async def _say(self, word: str, words: dict[str, Any]) -> None:
        words["host"] = self._name
        payload = json.dumps(words, separators=(",", ":")).encode()
        await self._connection.publish(self._subjects.control(word), payload)

    async def _say_of(self, room: bytes, words: dict[str, Any]) -> None:
        await self._say(f"room.{token_of(room)}", words)

    # Hearing

    def _on_host(self, message: Message) -> None:
        words = self._heard(message)
        if words is None:
            return
        if words.get("gone"):
            self._forget(words["host"])
        else:
            self._other(words["host"])

    def _on_room(self, room: bytes, message: Message) -> None:
        words = self._heard(message)
        said = self._said.get(room)
        if words is None or said is None:
            return
        if words.get("ask"):
            said.is_asked = True
            self.touched(room)
            return
        self._hear(room, said, words, message.subject)
        self._resized(room, said)

    def _hear(self, room: bytes, said: _Said, words: dict[str, Any], subject: str) -> None:
        """Take an announcement of another host."""
        other = self._other(words["host"])
        try:
            number = int(words["n"])
            if words.get("all"):
                self._take_all(other, room, words)
            elif number == other.numbers.get(room, 0) + 1 and "counted" in words:
                self._take(other, room, words)
            elif number != other.numbers.get(room):
                said.asks = True
                self.touched(room)
                return
        except (KeyError, TypeError, ValueError) as error:
            log.warning("%s: what another host says is not understood: %r", subject, error)
            return
        other.numbers[room] = number
        other.said_at[room] = self._clock()

    def _resized(self, room: bytes, said: _Said) -> None:
        """Announce our members by name, or as a number, if others have switched presence on or off."""
        if has_presence(self._members, room) != said.lists:
            self.touched(room)

    def _heard(self, message: Message) -> dict[str, Any] | None:
        """Return what another host says."""
        try:
            words = json.loads(message.data)
            if words["host"] != self._name:
                return dict(words, host=str(words["host"]))
        except (ValueError, TypeError, KeyError) as error:
            log.warning("%s: what another host says is not understood: %r", message.subject, error)
        return None

    def _other(self, name: str) -> _Other:
        other = self._others.get(name)
        if other is None:
            other = self._others[name] = _Other()
        other.heard_at = self._clock()
        return other

    def _take_all(self, other: _Other, room: bytes, words: dict[str, Any]) -> None:
        new, counted = [_listed(*entry) for entry in words["joined"]], _count_of(words)
        before = self._members.total
        old = {listed.member: listed for listed in self._members.drop(other, room)}
        self.total += self._members.total - before
        self._count(other, room, counted, new)
        known = {listed.member for listed in new}
        self._hints.left(room, [one for member, one in old.items() if member not in known])
        for listed in new:
            if listed.member not in old:
                self._hints.joined(room, listed)
        self._hints.resized(room)

    def _take(self, other: _Other, room: bytes, words: dict[str, Any]) -> None:
        joined, counted = [_listed(*entry) for entry in words["joined"]], _count_of(words)
        before = self._members.total
        gone = [
            one
            for member in words.get("left", ())
            if (one := self._members.leave_listed(other, room, member)) is not None
        ]
        self.total += self._members.total - before
        self._count(other, room, counted, joined)
        self._hints.left(room, gone)
        for listed in joined:
            self._hints.joined(room, listed)
        self._hints.resized(room)

    def _count(self, other: _Other, room: bytes, counted: int, listed: Iterable[Listed]) -> None:
        members = self._members
        before = members.total
        for one in listed:
            members.join_listed(other, room, one)
        if counted or members.has(other, room):
            members.count(other, room, counted)
            if not counted:
                members.settle(other, room)
        self.total += members.total - before

    def _forget_room(self, room: bytes) -> None:
        """No host has members in the room, as far as we know."""
        before = self._members.total
        for other in self._others.values():
            self._members.drop(other, room)
            other.numbers.pop(room, None)
            other.said_at.pop(room, None)
        self.total += self._members.total - before

    def _forget_left(self, before: float) -> None:
        """Forget the members of hosts in rooms of which they have said nothing since then."""
        for other in self._others.values():
            for room in [room for room, at in other.said_at.items() if at < before]:
                del other.numbers[room], other.said_at[room]
                total = self._members.total
                left = self._members.drop(other, room)
                self.total += self._members.total - total
                self._hints.left(room, left)
                if (said := self._said.get(room)) is not None:
                    self._resized(room, said)

    def _forget(self, name: str) -> None:
        """A host has no members any more."""
        other = self._others.pop(name, None)
        if other is None:
            return
        before = self._members.total
        for room, listed in self._members.drop_all(other):
            self._hints.left(room, listed)
            if (said := self._said.get(room)) is not None:
                self._resized(room, said)
        self.total += self._members.total - before


def _count_of(words: dict[str, Any]) -> int:
    """Return how many members without info there are.

    Raises:
        KeyError, TypeError, ValueError: It is no such number.
    """
    counted = int(words["counted"])
    if counted < 0:
        raise ValueError(f"counted {counted}")
    return counted


def _key_of(listed: Listed) -> _Key:
    """Return what names a member among those of its host."""
    return listed.incarnation << _MEMBER_BITS | listed.member


def _page(joined: list[tuple[_Key, Listed]]) -> tuple[list[list[Any]], list[tuple[_Key, Listed]]]:
    """Return the first members as they are announced, and the rest."""
    page: list[list[Any]] = []
    held = 0
    for count, (key, listed) in enumerate(joined):
        if held > _PAGE:
            return page, joined[count:]
        held += len(listed.user) + len(listed.info)
        page.append([key, listed.user.decode(), listed.info.decode()])
    return page, []


def _listed(member: int, user: str, info: str) -> Listed:
    return Listed(0, int(member), user.encode(), info.encode())
