"""What workers ask beside publishing: members that join and leave, history, and who is there.

Rules. A question is answered after everything before it was stored and sent, so its answer is a
barrier: it holds for all before, and what comes later is live. Limits stop who joins now; who was a
member before, and is told to a new broker, stays one.
"""

from __future__ import annotations

from collections.abc import Callable

from mpchat.broker.known import Known
from mpchat.broker.members import Members
from mpchat.broker.options import BrokerOptions
from mpchat.broker.pairs import Pair
from mpchat.broker.presence import Hints, has_presence, members_pages
from mpchat.broker.store import Store
from mpchat.ipc import asking
from mpchat.ipc import rooms as kinds
from mpchat.ipc.answering import Answer
from mpchat.ipc.framing import MalformedFrame
from mpchat.ipc.rooms import (
    LISTS,
    MORE,
    RECOVERED,
    Listed,
    Since,
    Status,
)


class Questions:
    """Answers them."""

    def __init__(
        self,
        log: Store,
        members: Members,
        known: Known,
        hints: Hints,
        options: BrokerOptions,
        commit: Callable[[], None],
    ) -> None:
        """``commit`` has everything that was taken before stored and sent."""
        self._log = log
        self._members = members
        self._known = known
        self._hints = hints
        self._options = options
        self._commit = commit

    def ask(self, pair: Pair, frame: bytes) -> None:
        """Answer a frame.

        Raises:
            MalformedFrame: It is none that a worker sends, or says what cannot be.
        """
        match frame[4]:
            case kinds.JOIN:
                self._join(pair, asking.Join.parse(frame))
            case kinds.LEAVE:
                self._leave(pair, asking.Leave.parse(frame))
            case kinds.SUBSCRIBE:
                self._subscribe(pair, asking.Subscribe.parse(frame))
            case kinds.UNSUBSCRIBE:
                name = asking.Unsubscribe.parse(frame).room
                self._hints.left(name, self._members.drop(pair, name))
            case kinds.HISTORY:
                self._read(pair, asking.History.parse(frame))
            case kinds.MEMBERS:
                self._list(pair, asking.Members.parse(frame))
            case kind:
                raise MalformedFrame(f"no worker sends frame {kind}")

    def _join(self, pair: Pair, join: asking.Join) -> None:
        members, name = self._members, join.room
        listed = None
        if join.info is not None and self._options.presence:
            listed = Listed(pair.incarnation, join.member, join.user, join.info)
        if join.announced:
            if listed is None:
                raise MalformedFrame("an announced member that is not listed")
            self._expect_room_for(1)
            members.join_listed(pair, name, listed)
            self._hints.resized(name)
            return
        status = Status.OK
        if members.total >= self._options.max_members:
            status = Status.TOO_MANY_MEMBERS
        elif not self._known.has_room_for(name):
            status = Status.TOO_MANY_ROOMS
        if status is not Status.OK:
            pair.answer(Answer(kinds.JOINED, join.number, status=status).pack())
            return
        self._commit()
        # Read before the member counts: it gets no record twice, and none is missing. That the room was
        # closed since is nothing but not recovered for who joins it now.
        answer = self._since(join.number, name, join.since)._replace(status=Status.OK)
        if listed is None:
            members.join(pair, name)
        else:
            members.join_listed(pair, name, listed).subscribe(pair)
            self._hints.joined(name, listed)
        self._hints.resized(name)
        pair.answer(self._with_presence(answer, name).pack())

    def _leave(self, pair: Pair, leave: asking.Leave) -> None:
        if leave.listed and self._options.presence:
            listed = self._members.leave_listed(pair, leave.room, leave.member)
            self._hints.left(leave.room, [] if listed is None else [listed])
        else:
            self._members.leave(pair, leave.room)
            self._hints.resized(leave.room)

    def _subscribe(self, pair: Pair, subscribe: asking.Subscribe) -> None:
        name = subscribe.room
        self._expect_room_for(subscribe.counted)
        self._commit()
        answer = self._since(subscribe.number, name, subscribe.since)
        self._members.count(pair, name, subscribe.counted)
        self._members.subscribe(pair, name)
        self._hints.resized(name)
        pair.answer(self._with_presence(answer, name).pack())

    def _expect_room_for(self, members: int) -> None:
        """Raise MalformedFrame if a worker tells of more members than all of them may have."""
        # Its members were let in by a broker, but a handful may have come while that one died.
        if members > self._options.max_members:
            raise MalformedFrame(f"{members} members in one room")

    def _since(self, number: int, name: bytes, since: Since | None) -> Answer:
        """Return what a member gets that continues from a position, or joins now."""
        log, at = self._log, self._newest_at(name)
        if since is None:
            return Answer(kinds.JOINED, number, RECOVERED, offset=log.mark, at=at, mark=log.mark)
        status = Status.OK
        if self._is_ours(since):
            found = log.since(name, since.offset, self._options.history)
            if found.recovered:
                return Answer(
                    kinds.JOINED,
                    number,
                    RECOVERED | (MORE if found.more else 0),
                    offset=since.offset,
                    at=at,
                    mark=log.mark,
                    records=b"".join(found.records),
                )
            if found.closed:
                status = Status.CLOSED
        return Answer(kinds.JOINED, number, status=status, offset=log.mark, at=at, mark=log.mark)

    def _newest_at(self, name: bytes) -> int:
        """Return the wall milliseconds of the room's newest message; 0: it has none."""
        last = self._log.last(name)
        return 0 if last is None or last.closed else last.at

    def _is_ours(self, since: Since) -> bool:
        """Return whether this log has given the position."""
        return since.epoch == self._log.epoch and since.offset <= self._log.mark

    def _with_presence(self, answer: Answer, name: bytes) -> Answer:
        if self._options.presence and has_presence(self._members, name):
            return answer._replace(flags=answer.flags | LISTS)
        return answer

    def _read(self, pair: Pair, question: asking.History) -> None:
        self._commit()
        log, limits, since = self._log, self._options.history, question.since
        at = self._newest_at(question.room)
        if since is None:
            limits = limits._replace(messages=min(limits.messages, question.limit))
            found = log.since(question.room, 0, limits)
            # Who continues from here has missed nothing, unless there are messages: then from the last.
            recovered, start = True, log.mark
        else:
            is_ours = self._is_ours(since)
            start = since.offset if is_ours else 0
            found = log.since(question.room, start, limits)
            recovered = is_ours and found.recovered
        records = found.records[: question.limit]
        more = found.more or len(records) < len(found.records)
        flags = (RECOVERED if recovered else 0) | (MORE if more else 0)
        pair.answer(
            Answer(
                kinds.HISTORY_PAGE,
                question.number,
                flags,
                offset=start if recovered else log.mark,
                at=at,
                mark=log.mark,
                records=b"".join(records),
            ).pack()
        )

    def _list(self, pair: Pair, question: asking.Members) -> None:
        for page in members_pages(self._members, question, presence=self._options.presence):
            pair.answer(page.pack())
