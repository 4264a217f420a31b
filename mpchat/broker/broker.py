"""The broker's order: what workers publish is numbered, stored, answered and sent on, once in each turn.

Rules. A turn's publishes are stored by one write; then come the answers, then the deliveries, and
nobody hears of what is not stored. What fails in a turn is not repaired here: the process ends, and the
next broker recovers what is stored, to which the workers repeat what they have no answer to. A publish
that comes again is answered with its first position. A pair that says what it may not is closed alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from mpchat.broker.busiest import busiest
from mpchat.broker.known import Known
from mpchat.broker.members import Members, Room, Solo
from mpchat.broker.options import BrokerOptions
from mpchat.broker.pairs import CHUNK, Pair
from mpchat.broker.presence import Hints
from mpchat.broker.questions import Questions
from mpchat.broker.store import Store
from mpchat.broker.traffic import Traffic
from mpchat.ipc.answering import Welcome, pack_ack, pack_lost, pack_mark, pack_refused
from mpchat.ipc.asking import PUBLISH_HEAD_BYTES, parse_publish
from mpchat.ipc.framing import MalformedFrame
from mpchat.ipc.records import CLOSED, HEADER, MESSAGE, OVERHEAD
from mpchat.ipc.rooms import FROM_MEMBER, REPEATED, STORED, Reason

_NAME: Final = HEADER.size
_RECORD_FLAGS: Final = 0xFF ^ FROM_MEMBER

log = logging.getLogger("mpchat.broker")


def wall_ms() -> int:
    """Return the wall clock's milliseconds."""
    return time.time_ns() // 1_000_000


class Broker:
    """Orders the rooms of all workers.

    Attributes:
        pairs: By the incarnation of the worker.
        members: Who is where.
        published, repeated, refused: Publishes that were stored, those answered again, those refused.
        delivered: Records that were sent to workers, or are still to be read by them.
        lost: How often one was so far behind that the history no longer reached.
        dropped: Pairs closed because of what they said.
    """

    def __init__(
        self,
        history: Store,
        options: BrokerOptions,
        call_soon: Callable[..., object],
        *,
        broken: Callable[[Pair], None] = lambda pair: None,
        wall: Callable[[], int] = wall_ms,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve no pair yet.

        Args:
            history: Recovered; this broker alone writes it.
            options: The limits.
            call_soon: As an event loop's.
            broken: Told of a pair that was closed because of what its worker said.
            wall: Milliseconds for people.
            clock: Monotonic seconds.
        """
        self.history = history
        self.members = Members()
        self.pairs: dict[int, Pair] = {}
        self.published = self.repeated = self.refused = self.delivered = 0
        self.lost = self.dropped = 0
        self._options = options
        self._call_soon = call_soon
        self._broken = broken
        self._wall = wall
        self._clock = clock
        self._known = Known(self.members, history, options.max_rooms, clock)
        self._hints = Hints(self.members, self._write_soon, call_soon)
        self._questions = Questions(
            history, self.members, self._known, self._hints, options, self._commit
        )
        self._traffic = Traffic()
        self._turned_at = clock()
        self._acks: list[tuple[Pair, int, int, int, int]] = []
        self._ids = history.ids
        self._stored = history.rooms
        self._append = history.append
        self._largest = history.largest - OVERHEAD
        self._largest_publish = self._largest + PUBLISH_HEAD_BYTES
        self._at = 0
        """Wall milliseconds of this turn; 0: nobody has asked"""
        self._floor = history.floor
        self._is_scheduled = False

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
        history = self.history
        flags = STORED if history.stored else 0
        pair.marked = history.mark
        pair.answer(
            Welcome(flags, self._largest, history.epoch, history.floor, history.mark).pack()
        )
        self._write_soon()

    def publish(self, pair: Pair, frame: bytes) -> None:
        # Every message passes here: what is rare is asked about last, and costs a lookup before.
        counter, flags, room, user, key, payload = parse_publish(frame)
        incarnation = pair.incarnation
        if self._ids.has(incarnation, counter, key) and self._repeat(pair, counter, key):
            return
        members = self.members.rooms.get(room)
        if flags & FROM_MEMBER:
            flags &= _RECORD_FLAGS
            if (members is None or pair not in members.targets) and not self._is_member(pair, room):
                self._refuse(pair, Reason.CLOSED, counter)
                return
        if len(frame) > self._largest_publish:
            self._refuse(pair, Reason.SIZE, counter)
            return
        if members is None and room not in self._stored and not self._known.has_room_for(room):
            self._refuse(pair, Reason.TOO_MANY_ROOMS, counter)
            return
        at = self._at or self._look_at_clock()
        offset = self._append(MESSAGE, flags, room, user, key, payload, at, incarnation, counter)
        self._acks.append((pair, 0, counter, offset, at))
        self._traffic.current[room] += 1
        if not self._is_scheduled:
            self._write_soon()

    def _repeat(self, pair: Pair, counter: int, key: bytes) -> bool:
        """Answer with the first position, if it is still known."""
        history = self.history
        first = history.find_own(pair.incarnation, counter)
        if first is None and key:
            first = history.find_key(key)
        if first is None:
            return False
        self.repeated += 1
        # It is answered after the commit: the first may be of this turn.
        self._acks.append((pair, REPEATED, counter, *first))
        self._write_soon()
        return True

    def _is_member(self, pair: Pair, room: bytes) -> bool:
        """Return whether the pair has members in the room, or may have said so in what still waits."""
        return bool(pair.waiting) or self.members.has(pair, room)

    def _look_at_clock(self) -> int:
        """Return the time of all messages of this turn."""
        self._at = self._wall()
        return self._at

    def close(self, pair: Pair, frame: bytes) -> None:
        counter, _, room, *_ = parse_publish(frame)
        history = self.history
        if self._repeat(pair, counter, b""):
            return
        self._commit()
        last = history.last(room)
        if room not in self.members.rooms and (last is None or last.closed):
            self._refuse(pair, Reason.NO_ROOM, counter)
            return
        at = self._look_at_clock()
        offset = history.append(CLOSED, 0, room, b"", b"", b"", at, pair.incarnation, counter)
        self._acks.append((pair, 0, counter, offset, at))
        # Its members hear of it, and are gone before anything else is taken: the next publish begins
        # a new room.
        self._turn()
        for told in self.members.close(room):
            if told.behind is not None:
                told.closing.add(room)

    def ask(self, pair: Pair, frame: bytes) -> None:
        self._questions.ask(pair, frame)
        self._write_soon()

    def _refuse(self, pair: Pair, reason: Reason, counter: int) -> None:
        self.refused += 1
        pair.out.append(pack_refused(reason, counter))
        self._write_soon()

    def _write_soon(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._call_soon(self._scheduled_turn)

    def _scheduled_turn(self) -> None:
        self._is_scheduled = False
        self._turn()

    def _commit(self) -> None:
        """Store and send what was taken before a question."""
        if self._acks:
            self._turn()

    def _turn(self) -> None:
        """Store, then answer, then deliver."""
        history, acks = self.history, self._acks
        records = history.commit()
        self._at = 0
        for pair, flags, counter, offset, at in acks:
            pair.out.append(pack_ack(flags, counter, offset, at))
        acks.clear()
        self.published += len(records)
        rooms = self.members.rooms
        delivered = 0
        for record in records:
            room = rooms.get(record[_NAME : _NAME + record[6]])
            if room is not None:
                for pair in room.targets:
                    if pair.behind is None:
                        pair.out.append(record)
                        delivered += 1
        self.delivered += delivered
        if history.floor != self._floor:
            self._floor = history.floor
            self._mark()
        for pair in self.pairs.values():
            if pair.out:
                pair.send()
            if pair.waiting and not pair.is_full:
                self.resume(pair)

    def second(self) -> None:
        """Do what is done each second: tell workers how far they are, and count traffic."""
        now = self._clock()
        self._traffic.turn(now - self._turned_at)
        self._turned_at = now
        self._commit()
        self._mark()
        self._write_soon()

    def _mark(self) -> None:
        """Tell the pairs that have everything how far that is: positions of quiet rooms stay good."""
        mark = self.history.mark
        frame = pack_mark(mark)
        for pair in self.pairs.values():
            if pair.marked != mark and pair.has_begun and not pair.is_full:
                pair.marked = mark
                pair.out.append(frame)

    def resume(self, pair: Pair) -> None:
        self._call_soon(self._catch_up, pair)

    def _catch_up(self, pair: Pair) -> None:
        """Go on with a pair: from the log, if it is behind, then with what it has asked."""
        if not pair.open:
            return
        pair.read_on()
        if pair.behind is not None:
            # Only what is stored can be read.
            self._commit()
            self._follow(pair, pair.behind)
        if pair.behind is not None:
            if pair.takes_more:
                # One page in a turn: others have theirs. Else its transport calls again.
                self.resume(pair)
            return
        try:
            pair.take_waiting()
        except MalformedFrame as error:
            self.lose(pair, str(error))

    def _follow(self, pair: Pair, behind: int) -> None:
        """Send a page of the log to a pair that is behind."""
        history = self.history
        if behind < history.floor:
            self.lost += 1
            pair.behind = None
            pair.closing.clear()
            self.members.unsubscribe_all(pair)
            pair.answer(pack_lost(history.floor))
            self._write_soon()
            return
        rooms = _Followed(self.members.rooms, pair)
        records, following = history.follow(behind, rooms, CHUNK)
        self.delivered += len(records)
        if following <= history.mark:
            pair.behind = following
        else:
            pair.behind = None
            pair.closing.clear()
            pair.marked = history.mark
            records.append(pack_mark(history.mark))
        pair.write(records)

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
        if why:
            self._broken(pair)

    def status(self) -> dict[str, int]:
        """Return numbers for operators, as the scoreboard names them; counters of this broker alone."""
        history = self.history
        return {
            "rooms": len(self._known),
            "members": self.members.total,
            "messages": self.published,
            "history_used": history.used,
            "history_size": history.size,
            "behind": sum(pair.behind is not None for pair in self.pairs.values()),
            "repeated": self.repeated,
            "refused": self.refused,
            "delivered": self.delivered,
            "lost": self.lost,
            "dropped": self.dropped,
        }

    def busiest(self, by: str, limit: int) -> list[dict[str, Any]]:
        """Return rows of rooms, largest first; see ``busiest``."""
        return busiest(self.members.rooms, self._traffic.rates(), by, limit)


class _Followed:
    """The rooms whose records a pair gets, as a container of names."""

    def __init__(self, rooms: Mapping[bytes, Solo | Room], pair: Pair) -> None:
        self._rooms = rooms
        self._pair = pair

    def __contains__(self, name: object) -> bool:
        assert isinstance(name, bytes)
        room = self._rooms.get(name)
        if room is not None and self._pair in room.targets:
            return True
        return name in self._pair.closing
