"""The rooms that connections of this worker are in: who joins and leaves, and what the broker says.

Rules. A member counts from its JOIN on, and is sent what comes behind the answer, or behind the last
page of its history: that is one place in the stream for all. On a fresh pair each room goes on at its
position, before anything else is asked; where that is not possible, its members are closed with 1013. A
room that was closed is over at once: who joins now begins it anew, while its members are still sent what
came before.
"""

from __future__ import annotations

from collections.abc import Callable

from mpchat.ipc.answering import Answer, MembersPage, Presence, Welcome, parse_mark
from mpchat.ipc.answering import parse_refused as parse_refusal
from mpchat.ipc.asking import Join, Leave
from mpchat.ipc.framing import MalformedFrame, split_frames
from mpchat.ipc.records import CLOSED, at_of, offset_of
from mpchat.ipc.rooms import (
    HISTORY_PAGE,
    JOINED,
    LOST,
    MARK,
    MEMBERS_PAGE,
    MORE,
    PRESENCE,
    RECOVERED,
    REFUSED,
    WELCOME,
    Since,
    Status,
)
from mpchat.rooms.directory import Directory
from mpchat.rooms.errors import (
    Behind,
    RoomClosed,
    RoomError,
    TooManyMembers,
    TooManyRooms,
    Unavailable,
)
from mpchat.rooms.forms import Form, Frame, frame_of
from mpchat.rooms.link import Link
from mpchat.rooms.member import JOINING, LEFT, MEMBER, READING, Member
from mpchat.rooms.position import Position
from mpchat.rooms.protocol import CloseCode
from mpchat.rooms.publishing import Publishing
from mpchat.rooms.questions import (
    Asking,
    Counting,
    Joining,
    Question,
    Questions,
    Reading,
    Resuming,
)
from mpchat.rooms.stream import Stream
from mpchat.rooms.subscription import (
    FRESH,
    LIVE,
    RESUMING,
    Hint,
    Parted,
    Sent,
    Subscription,
    message_of,
)
from mpchat.websocket.batch import Batch
from mpchat.websocket.broadcast import Hall
from mpchat.websocket.limits import TOO_SLOW
from mpchat.websocket.phases import OWED
from mpchat.websocket.protocol import WebSocketProtocol

_INTERRUPTED = "messages were missed: come back with the position"


class Registry:
    """The rooms of one worker.

    Attributes:
        epoch: That of the broker's history; empty before the first broker.
        largest: Bytes of room, user, key and payload of the largest message.
        receive: Acts on frames; see Stream.
    """

    def __init__(
        self, link: Link, hall: Hall, publishing: Publishing, count_limit: Callable[[str], None]
    ) -> None:
        self.epoch = ""
        self.largest = 0
        self._link = link
        self._hall = hall
        self._publishing = publishing
        self._count_limit = count_limit
        self._rooms = Directory(hall)
        self._listed: dict[int, tuple[Member, bytes]] = {}
        """Members with info, with their users"""
        self._number = 0
        self._questions = Questions(link.send)
        self._stream = Stream(self._rooms.find, publishing, self._on_closed, self._on_frame)
        self.receive = self._stream.receive

    # What members do

    def join(self, member: Member, user: bytes, given: Position | None) -> Joining:
        """Ask the broker to let a member in."""
        member.place = room = self._rooms.subscribe(member.room_name)
        room.members += 1
        member.state = JOINING
        member.follow()
        if member.extra is not None and member.extra.info is not None:
            self._number += 1
            member.extra.number = self._number
            self._listed[self._number] = member, user
        question = Joining(member, user, given)
        self._questions.ask(question)
        return question

    def read_on(self, member: Member, since: Since) -> Reading:
        """Ask for the next page of a member's history.

        Raises:
            Behind: Its room has ended for this worker meanwhile.
        """
        if member.subscription not in self._rooms:
            raise Behind(_INTERRUPTED)
        question = Reading(member, since)
        self._questions.ask(question)
        return question

    def leave(self, member: Member) -> None:
        """A member leaves by itself, or its connection has ended."""
        state = member.state
        if state in {READING, MEMBER}:
            self._gone(member)
            room, extra = member.subscription, member.extra
            number = extra.number if extra is not None else 0
            self._link.send(Leave(room.name, number, member.is_listed).pack())
        elif state is JOINING:
            # The answer decides whether the broker has to be told.
            member.state = LEFT
            member.unfollow()

    def forget(self, member: Member) -> None:
        """A member has to leave with all others: the broker knows."""
        if member.state in {READING, MEMBER}:
            self._gone(member)

    def ask(self, question: Question) -> None:
        """Ask the broker."""
        self._questions.ask(question)

    def position_of(self, member: Member) -> Position:
        """Return where a member's room stands as far as this worker knows."""
        return self._rooms.position_of(member, self.epoch)

    def wake(self, member: Member) -> Subscription:
        """Return the room of a member that rests."""
        return self._rooms.wake(member)

    def _gone(self, member: Member) -> None:
        room = member.subscription
        room.discard(member)
        member.state = LEFT
        member.unfollow()
        self._count_out(member)
        if member.extra is not None and member.extra.inbox is not None:
            member.extra.inbox.wake()

    def _count_out(self, member: Member, *, has_joined: bool = True) -> None:
        room = member.subscription
        room.members -= 1
        if member.is_listed:
            assert member.extra is not None
            self._listed.pop(member.extra.number, None)
        elif has_joined:
            room.counted -= 1
        if room.members:
            self._rooms.settle(room)
        elif room in self._rooms:
            self._rooms.forget(room)

    # What the broker says

    def connected(self) -> None:
        """Go on on a fresh pair: rooms first, then questions, then publishes."""
        epoch = self.epoch
        open_questions = self._questions.take_all()
        waiting = {
            item.subscription: item.since.epoch
            for item in open_questions
            if isinstance(item, Resuming) and not item.is_page
        }
        for room in self._rooms.all():
            if room.stage is not FRESH:
                self._resume(room, waiting.get(room, epoch))
        for number, (member, user) in self._listed.items():
            if member.state in {READING, MEMBER}:
                info = member.extra.info if member.extra is not None else None
                name = member.room_name
                self._link.send(Join(0, name, number, None, user, info, announced=True).pack())
        for question in open_questions:
            if isinstance(question, Joining) and question.member.state is LEFT:
                self._count_out(question.member, has_joined=False)
            elif question.is_wanted and not isinstance(question, Resuming):
                self._questions.ask(question)
        self._publishing.repeat()

    def disconnected(self) -> None:
        """The pair has ended: all was seen up to here."""
        for room in self._rooms.all():
            if room.stage is LIVE:
                self._rooms.advance(room)
                room.stage = RESUMING
        self._rooms.mark = 0

    def _resume(self, room: Subscription, epoch: str) -> None:
        room.stage = RESUMING
        self._questions.ask(Resuming(room, Since(epoch, room.offset, room.at)))

    def _on_frame(self, kind: int, frame: bytes) -> None:
        match kind:
            case _ if kind in {JOINED, HISTORY_PAGE}:
                self._on_answer(Answer.parse(frame))
            case _ if kind == REFUSED:
                reason, counter = parse_refusal(frame)
                self._publishing.refused(counter, reason)
            case _ if kind == MARK:
                self._rooms.seen(*parse_mark(frame))
                self._rooms.settle_some()
            case _ if kind == MEMBERS_PAGE:
                page = MembersPage.parse(frame)
                question = self._questions.find(page.number)
                if isinstance(question, Counting) and question.take(page):
                    self._questions.close(page.number)
            case _ if kind == PRESENCE:
                hint = Presence.parse(frame)
                room = self._rooms.find(hint.room)
                if room is not None and room.stage is not FRESH:
                    info = hint.listed.info if hint.listed is not None else b""
                    room.send(Hint(hint.change, info))
            case _ if kind == LOST:
                self._on_lost()
            case _ if kind == WELCOME:
                welcome = Welcome.parse(frame)
                self.epoch = self._publishing.epoch = self._stream.epoch = welcome.epoch
                self.largest = welcome.largest
            case _:
                raise MalformedFrame(f"a worker does not know frame {kind}")

    def _on_lost(self) -> None:
        """The worker was too far behind: each room goes on at its position, if that is still known."""
        for room in self._rooms.all():
            if room.stage is LIVE:
                self._rooms.advance(room)
                self._resume(room, self.epoch)
        for question in self._questions.all():
            if isinstance(question, Resuming) and question.is_page:
                question.is_lost = True

    def _on_closed(self, room: Subscription) -> None:
        self._rooms.forget(room)
        error = RoomClosed("the room was closed")
        self._part(room, Parted(error, CloseCode.NO_ROOM, is_known=True))

    # Answers

    def _on_answer(self, answer: Answer) -> None:
        question = self._questions.find(answer.number)
        self._questions.close(answer.number)
        self._rooms.seen(answer.mark)
        match question:
            case Joining():
                self._on_joined(question, answer)
            case Reading():
                self._on_page(question, answer)
            case Resuming():
                self._on_resumed(question, answer)
            case Asking():
                question.set(answer)
            case _:
                raise MalformedFrame(f"an answer to question {answer.number}, which is not open")

    def _on_joined(self, question: Joining, answer: Answer) -> None:
        member = question.member
        room = member.subscription
        # CLOSED: the room was closed after the given position, and is another one now.
        if answer.status not in {Status.OK, Status.CLOSED}:
            self._count_out(member, has_joined=False)
            if member.state is JOINING:
                member.state = LEFT
                member.unfollow()
            question.fail(self._status_error(answer.status))
            return
        if not member.is_listed:
            room.counted += 1
        if member.state is LEFT:
            member.state = READING
            self.leave(member)
            return
        if room.stage is FRESH:
            room.stage = LIVE
        member.state = READING
        if not answer.flags & RECOVERED:
            member.ensure_extra().recovered = False
        self._take_page(question, answer)

    def _on_page(self, question: Reading, answer: Answer) -> None:
        member = question.member
        if member.state is not READING:
            return
        if not answer.flags & RECOVERED:
            error = Behind(_INTERRUPTED)
            question.fail(error)
            member.part(Parted(error, TOO_SLOW.code, is_known=False))
            return
        self._take_page(question, answer)

    def _take_page(self, question: Joining | Reading, answer: Answer) -> None:
        """Send a member its history; behind the last page it is one of the room's."""
        member = question.member
        room, form = member.subscription, member.form
        assert form is None or isinstance(form, Form)
        records = split_frames(answer.records)
        sent = [Sent(message_of(record, self.epoch)) for record in records if record[4] != CLOSED]
        frames = []
        end = max(answer.mark, offset_of(records[-1]) if records else answer.offset)
        if isinstance(question, Joining):
            position = self._joined_at(question, answer)
            if form is not None:
                first = frame_of(form.joined, room.name.decode(), position, member.recovered)
                frames += [first] if first is not None else []
            if not records and room.stage is LIVE:
                room.stands_at(position.offset, position.at)
        if records:
            last = records[-1]
            if answer.flags & MORE:
                end = offset_of(last)
            elif room.stage is LIVE:
                # While it resumes, the others have not seen all that this one has.
                room.stands_at(offset_of(last), at_of(last))
        if form is None:
            member.take(sent)
        elif member.protocol is not None:
            frames += [frame for item in sent if (frame := item.frame(form)) is not None]
            self._write(member.protocol, frames)
        if member.state is READING and not answer.flags & MORE and room.stage is LIVE:
            member.state = MEMBER
            room.add(member)
            self._rooms.settle(room)
        question.set(end)

    def _joined_at(self, question: Joining, answer: Answer) -> Position:
        given = question.given
        if given is not None and question.member.recovered:
            return given
        return Position(self.epoch, answer.offset, answer.at)

    def _write(self, protocol: WebSocketProtocol, frames: list[Frame]) -> None:
        """Send one member what is for it alone."""
        if frames and protocol.phase < OWED:
            batch = Batch(frames)
            self._hall.turn.charge(batch.size)
            if not protocol.outgoing.send_batch(batch, self._hall.most):
                protocol.exceeds(TOO_SLOW)

    def _on_resumed(self, question: Resuming, answer: Answer) -> None:
        room = question.subscription
        if room.stage is not RESUMING or room not in self._rooms:
            # It was left by all, or begun anew.
            return
        if answer.status is Status.CLOSED:
            self._on_closed(room)
            return
        if answer.status is not Status.OK or not answer.flags & RECOVERED:
            self._drop(room)
            return
        for record in split_frames(answer.records):
            if room in self._rooms:
                self._stream.take(room, record)
        if question.is_lost and room in self._rooms:
            self._resume(room, self.epoch)
        elif answer.flags & MORE:
            since = Since(self.epoch, room.offset, room.at)
            self._questions.ask(Resuming(room, since, is_page=True))
        elif room in self._rooms:
            room.stage = LIVE
            self._rooms.settle(room)

    def _drop(self, room: Subscription) -> None:
        """What the room's members have missed cannot be had: they have to come back."""
        self._rooms.forget(room)
        self._part(room, Parted(Behind(_INTERRUPTED), TOO_SLOW.code, is_known=False))

    def _part(self, room: Subscription, parted: Parted) -> None:
        for question in self._questions.all():
            if isinstance(question, Joining) and question.member.subscription is room:
                # Its answer comes later: it begins the room anew.
                room.members -= 1
                question.member.place = begun = self._rooms.subscribe(room.name)
                begun.members += 1
            elif isinstance(question, Reading) and question.member.subscription is room:
                question.fail(parted.error)
                question.member.part(parted)
        room.end(parted)

    def _status_error(self, status: Status) -> RoomError:
        match status:
            case Status.TOO_MANY_ROOMS:
                self._count_limit("max-rooms")
                return TooManyRooms("there are max-rooms rooms")
            case Status.TOO_MANY_MEMBERS:
                self._count_limit("max-members")
                return TooManyMembers("the rooms have max-members members")
            case _:
                return Unavailable("the broker did not let the member in")
