"""What this worker has published and the broker has not answered.

Rules. At most MAX_OPEN publishes are open: from the oldest one without an answer to the newest, since the
broker remembers so many of a worker. More wait here, in order. A new broker is sent the open ones again,
in order and before new ones; it knows those that were stored. After a time limit the answer is
Unavailable, and the publish is not sent again. Cancelled, it is not sent again either; it may be stored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from mpchat.ipc.asking import pack_close, pack_publish
from mpchat.ipc.rooms import MAX_OPEN, Reason
from mpchat.rooms.errors import NoSuchRoom, RoomClosed, TooLarge, TooManyRooms, Unavailable
from mpchat.rooms.link import Link
from mpchat.rooms.position import Position

_LOOKS = 20
"""Looks for late answers within the time limit."""


class Answer(Protocol):
    """What becomes of a publish: a future of its position, or who counts them."""

    def done(self) -> bool:
        """Whether nobody wants to know any more; then it need not be sent again either."""

    def set_result(self, result: Position, /) -> None:
        """It is stored."""

    def set_exception(self, exception: Exception, /) -> None:
        """It is not stored, or nobody knows."""


class Publish:
    """A message on its way to the broker."""

    __slots__ = ("_flags", "_key", "_payload", "_room", "_user")

    def __init__(self, room: bytes, payload: bytes, flags: int, user: bytes, key: bytes) -> None:
        self._room = room
        self._payload = payload
        self._flags = flags
        self._user = user
        self._key = key

    def pack(self, counter: int) -> bytes:
        """Return the frame."""
        return pack_publish(
            counter, self._room, self._payload, flags=self._flags, user=self._user, key=self._key
        )


class Close:
    """The end of a room, on its way to the broker."""

    __slots__ = ("_room",)

    def __init__(self, room: bytes) -> None:
        self._room = room

    def pack(self, counter: int) -> bytes:
        """Return the frame."""
        return pack_close(counter, self._room)


class Open:
    """What has no answer yet.

    Attributes:
        what: It.
        answer: What it gets.
        since: Seconds of the loop's clock.
    """

    __slots__ = ("answer", "since", "what")

    def __init__(self, what: Publish | Close, answer: Answer, since: float) -> None:
        self.what = what
        self.answer = answer
        self.since = since


class Publishing:
    """The publishes of one worker.

    Attributes:
        epoch: That of the answers.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        link: Link,
        limit: float,
        count_limit: Callable[[str], None],
    ) -> None:
        self.epoch = ""
        self._loop = loop
        self._link = link
        self._limit = limit
        self._count_limit = count_limit
        self._counter = 0
        self._open: dict[int, Open] = {}
        self._waiting: deque[Open] = deque()
        self._is_looking = False

    def begin(self, what: Publish | Close, answer: Answer) -> None:
        """Publish; the answer is a position.

        Or Unavailable, RoomClosed, TooManyRooms, TooLarge, NoSuchRoom.
        """
        one = Open(what, answer, self._loop.time())
        if self._waiting or self._is_full():
            self._waiting.append(one)
        else:
            self._send(one)
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(self._limit / _LOOKS, self._look)

    def stored(self, counter: int, offset: int, at: int) -> None:
        """The broker has stored one."""
        one = self._open.pop(counter, None)
        if one is not None and not one.answer.done():
            one.answer.set_result(Position(self.epoch, offset, at))
        self._go_on()

    def refused(self, counter: int, reason: Reason) -> None:
        """The broker does not store one."""
        one = self._open.pop(counter, None)
        if one is not None and not one.answer.done():
            if reason is Reason.TOO_MANY_ROOMS:
                self._count_limit("max-rooms")
            one.answer.set_exception(_refusal(reason))
        self._go_on()

    def repeat(self) -> None:
        """Tell a new broker all that is open."""
        self._open = {counter: one for counter, one in self._open.items() if not one.answer.done()}
        for counter, one in self._open.items():
            self._link.send(one.what.pack(counter))
        self._go_on()

    def end(self) -> None:
        """The worker ends: nothing is answered any more."""
        for one in (*self._open.values(), *self._waiting):
            _give_up(one)
        self._open.clear()
        self._waiting.clear()

    def _is_full(self) -> bool:
        if len(self._open) < MAX_OPEN and self._counter < MAX_OPEN:
            return False
        oldest = next(iter(self._open), self._counter + 1)
        return self._counter + 1 - oldest >= MAX_OPEN

    def _send(self, one: Open) -> None:
        self._counter = counter = self._counter + 1
        self._open[counter] = one
        self._link.send(one.what.pack(counter))

    def _go_on(self) -> None:
        while self._waiting and not self._is_full():
            one = self._waiting.popleft()
            if not one.answer.done():
                self._send(one)

    def _look(self) -> None:
        """Give up what is late. Both collections have the oldest first."""
        late = self._loop.time() - self._limit
        while self._open:
            counter, one = next(iter(self._open.items()))
            if one.since > late and not one.answer.done():
                break
            del self._open[counter]
            _give_up(one)
        while self._waiting and (self._waiting[0].since <= late or self._waiting[0].answer.done()):
            _give_up(self._waiting.popleft())
        self._go_on()
        self._is_looking = bool(self._open or self._waiting)
        if self._is_looking:
            self._loop.call_later(self._limit / _LOOKS, self._look)


def _give_up(one: Open) -> None:
    if not one.answer.done():
        one.answer.set_exception(Unavailable("the broker did not answer in time"))


def _refusal(reason: Reason) -> Exception:
    match reason:
        case Reason.CLOSED:
            return RoomClosed("the room was closed")
        case Reason.SIZE:
            return TooLarge("the message does not fit into the history")
        case Reason.TOO_MANY_ROOMS:
            return TooManyRooms("there are max-rooms rooms")
        case Reason.NO_ROOM:
            return NoSuchRoom("nobody is in the room, and it has no history")
        case Reason.UNAVAILABLE:
            return Unavailable("the broker cannot store messages now")
