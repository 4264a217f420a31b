"""What this worker has asked the broker, and what becomes of the answers.

Rules. A question has a number while it is open. It is asked again on a fresh pair, unless nobody waits
for its answer any more. The broker answers in order, so an answer is also a place in the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from mpchat.ipc.answering import Answer, MembersPage
from mpchat.ipc.asking import History, Join, Members, Subscribe
from mpchat.ipc.rooms import MORE, Listed, Since
from mpchat.rooms.member import Member
from mpchat.rooms.position import Position
from mpchat.rooms.subscription import Subscription

MOST = 0xFFFFFFFF
"""As many messages as a page holds."""

_Answer = TypeVar("_Answer")


class Question:
    """One that is open.

    Attributes:
        number: Its number.
    """

    def __init__(self) -> None:
        self.number = 0

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits for the answer."""
        return True

    def pack(self) -> bytes:
        """Return the frame that asks."""
        raise NotImplementedError


class Awaited(Question, Generic[_Answer]):
    """One whose answer a coroutine awaits.

    Attributes:
        answer: What it gets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()

    @property
    def is_wanted(self) -> bool:
        return not self.answer.done()

    def set(self, answer: _Answer) -> None:
        """Answer, if that is awaited."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Answer that there is none."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Joining(Awaited[int]):
    """A member wants to join; it gets the offset behind which it has to read on.

    Attributes:
        member: Who.
        given: The position that it comes back with.
    """

    def __init__(self, member: Member, user: bytes, given: Position | None) -> None:
        super().__init__()
        self.member = member
        self.given = given
        self._user = user

    def pack(self) -> bytes:
        member, extra = self.member, self.member.extra
        number, info = (extra.number, extra.info) if extra is not None else (0, None)
        room = member.room_name
        since = Since(*self.given) if self.given is not None else None
        return Join(self.number, room, number, since, self._user, info).pack()


class Reading(Awaited[int]):
    """A member that has joined wants the next page of its history; it gets the same.

    Attributes:
        member: Who.
    """

    def __init__(self, member: Member, since: Since) -> None:
        super().__init__()
        self.member = member
        self._since = since

    def pack(self) -> bytes:
        return History(self.number, self.member.room_name, MOST, self._since).pack()


class Asking(Awaited[Answer]):
    """Somebody wants history."""

    def __init__(self, room: bytes, limit: int, since: Since | None) -> None:
        super().__init__()
        self._question = room, limit, since

    def pack(self) -> bytes:
        return History(self.number, *self._question).pack()


class Resuming(Question):
    """A room of this worker goes on on a fresh pair.

    Attributes:
        since: Up to where all was seen.
        is_page: A page after the first one.
        is_lost: The broker sends no more records of the room: behind this page it goes on anew.
    """

    def __init__(self, subscription: Subscription, since: Since, *, is_page: bool = False) -> None:
        super().__init__()
        self.subscription = subscription
        self.since = since
        self.is_page = is_page
        self.is_lost = False

    def pack(self) -> bytes:
        room = self.subscription
        if self.is_page:
            return History(self.number, room.name, MOST, self.since).pack()
        return Subscribe(self.number, room.name, room.counted, self.since).pack()


class Counting(Question):
    """Somebody wants to know who is in a room.

    Attributes:
        answer: The last page, with the entries of all.
    """

    def __init__(self, room: bytes) -> None:
        super().__init__()
        self._room = room
        self._entries: list[Listed] = []
        self.answer: asyncio.Future[MembersPage] = asyncio.get_running_loop().create_future()

    @property
    def is_wanted(self) -> bool:
        return not self.answer.done()

    def pack(self) -> bytes:
        self._entries = []
        return Members(self.number, self._room).pack()

    def take(self, page: MembersPage) -> bool:
        """Take a page; return whether it was the last one."""
        self._entries += page.entries
        if page.flags & MORE:
            return False
        if not self.answer.done():
            self.answer.set_result(page._replace(entries=self._entries))
        return True


class Questions:
    """Those of one worker."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._number = 0
        self._open: dict[int, Question] = {}

    def ask(self, question: Question) -> None:
        """Ask, and keep the question until it is answered."""
        self._number = (self._number + 1) & 0xFFFFFFFF
        question.number = self._number
        self._open[self._number] = question
        self._send(question.pack())

    def find(self, number: int) -> Question | None:
        """Return an open question; it stays open."""
        return self._open.get(number)

    def close(self, number: int) -> None:
        """It is answered."""
        self._open.pop(number, None)

    def take_all(self) -> list[Question]:
        """Return all open ones, in order, and keep none."""
        found = list(self._open.values())
        self._open.clear()
        return found

    def all(self) -> list[Question]:
        """Return all open ones, in order."""
        return list(self._open.values())
