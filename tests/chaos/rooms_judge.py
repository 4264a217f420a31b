"""The bars of rooms, as questions to what their members noted.

Each returns what it found wrong as lines for people, nothing if the bar holds. A room's log is what its
members have seen of one epoch and what their publishes were answered, put together: what one of them
knows of the room, all have to know.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.records import ABNORMAL
from tests.chaos.sightings import MILLION, Answer, Notes, Publish, Visit

AT_ONCE = 1.0
"""Seconds from the death of a worker to the end of its members' presence."""
TIME = 3.0
"""The same from the end of a connection, and until a new broker knows all: workers may be busy."""
SOON = 8.0
"""Seconds for what may take its time, whoever dies. A worker gives a publish up after ten."""
_SHOWN = 3
_LATER = 1013
_LATE = "unavailable"
"""The refusal of a publish that no broker has answered in time"""


@dataclass(frozen=True)
class Kept:
    """What the service keeps for certain.

    Attributes:
        messages: Of each room; more are not kept.
        size: Bytes of all rooms together; 0 for a service without history.
    """

    messages: int
    size: int


class Log:
    """One room's messages of one epoch by offset; ``twice`` are those offsets that had two."""

    def __init__(self) -> None:
        self.messages: dict[int, int] = {}
        self.twice: dict[int, set[int]] = {}
        self.offsets: list[int] = []

    def note(self, offset: int, message: int) -> None:
        known = self.messages.setdefault(offset, message)
        if known != message:
            self.twice.setdefault(offset, {known}).add(message)

    def between(self, after: int, upto: int) -> list[int]:
        """Return the offsets after one and up to another."""
        offsets = self.offsets
        return offsets[bisect.bisect_right(offsets, after) : bisect.bisect_right(offsets, upto)]


def logs(notes: Notes) -> dict[tuple[str, str], Log]:
    """Return what is known of each room and epoch that anybody was let into."""
    found: dict[tuple[str, str], Log] = defaultdict(Log)
    epochs = notes.epochs
    for visit in notes.visits:
        if visit.joined:
            note = found[visit.room, visit.epoch].note
            for offset, message in zip(visit.offsets, visit.messages, strict=True):
                note(offset, message)
    for publish in notes.publishes:
        for ack in publish.acks:
            found[publish.room, epochs[ack.visit]].note(ack.offset, publish.message)
    for log in found.values():
        log.offsets = sorted(log.messages)
    return dict(found)


def one_order(notes: Notes) -> list[str]:
    """An offset has the same message for all, and nobody sees one that is not above those before."""
    twice = [
        f"{room} {offset}: {sorted(messages)}"
        for (room, _epoch), log in logs(notes).items()
        for offset, messages in log.twice.items()
    ]
    back = [
        f"visit {visit.number} in {visit.room} saw {offset} after {before}"
        for visit in _joined(notes.visits)
        for before, offset in itertools.pairwise([visit.offset, *visit.offsets])
        if offset <= before
    ]
    back += [
        f"visit {after.number} in {after.room} began at {after.offset}, {before.last} had been seen"
        for before, after in _reunions(notes)
        if after.epoch == before.epoch and after.offset < before.last
    ]
    return _complain("offsets had several messages", twice) + _complain(
        "messages came out of order or again", back
    )


def none_doubled(notes: Notes, kept: Kept) -> list[str]:
    """A message has one place in its room, unless its id was repeated when history was over."""
    doubled = []
    for (room, _epoch), log in logs(notes).items():
        first: dict[int, int] = {}
        for offset in log.offsets:
            message = log.messages[offset]
            before = first.setdefault(message, offset)
            if before != offset and not _is_over(log, before, offset, kept):
                doubled.append(f"{room} has {message} at {before} and {offset}")
    return _complain("messages were stored twice", doubled)


def none_missed(notes: Notes) -> list[str]:
    """Between what it saw first and last, and to the end if it stayed, a member has seen everything.

    So it has over its visits, unless it was told that there was a gap.
    """
    found = logs(notes)
    missed = []
    for visit in _joined(notes.visits):
        log = found[visit.room, visit.epoch]
        due = log.between(visit.offset, max(log.offsets, default=0) if visit.stayed else visit.last)
        if due != visit.offsets:
            lacking = sorted(set(due) - set(visit.offsets))
            missed += [f"visit {visit.number} in {visit.room} missed {at}" for at in lacking]
    for before, after in _reunions(notes):
        told = bool(after.since) and not after.recovered
        if not told and before.epoch == after.epoch:
            lacking = found[after.room, after.epoch].between(before.last, after.offset)
            missed += [
                f"visit {after.number} in {after.room} came back after {at}" for at in lacking
            ]
    return _complain("messages were missed without a word", missed)


def told_truly(notes: Notes, kept: Kept) -> list[str]:
    """``recovered`` is said if the history reaches back to the position given, and only then."""
    found = logs(notes)
    times = _acknowledged_at(notes)
    ends = _Ends(times)
    wrong = []
    for visit in _joined(notes.visits):
        if not visit.since:
            if not visit.recovered:
                wrong.append(f"visit {visit.number} gave no position and was told of a gap")
            continue
        same = visit.since_epoch == visit.epoch
        log = found[visit.room, visit.epoch]
        who = f"visit {visit.number} in {visit.room}, since {visit.since_offset},"
        if visit.recovered:
            if not same or visit.since_offset != visit.offset:
                wrong.append(f"{who} was told {visit.epoch}:{visit.offset} instead")
                continue
            known = sum(
                times.get((visit.room, visit.epoch, offset), visit.began) < visit.began
                for offset in log.between(visit.offset, max(log.offsets, default=0))
            )
            if known > kept.messages:
                wrong.append(f"{who} got {known} messages of {kept.messages} that are kept")
        elif not same:
            if kept.size:
                wrong.append(f"{who} of epoch {visit.since_epoch} met epoch {visit.epoch}")
        else:
            count = len(log.between(visit.since_offset, visit.offset))
            age = max(visit.offset, ends.at(visit.epoch, visit.joined)) - visit.since_offset
            if count <= kept.messages and age < kept.size:
                wrong.append(f"{who} was told of a gap of {count} messages that are kept")
    return _complain("visits were told wrongly whether they recovered", wrong)


def in_publishers_order(notes: Notes, kept: Kept) -> list[str]:
    """What a member said stands in its order.

    Not asked about is what was refused, or may have been, by an answer that came too late for its
    connection; and what was said again in another epoch, or when its first place might be out of the
    history, where nobody need have seen it.
    """
    found = logs(notes)
    epochs = Counter(message for log in found.values() for message in {*log.messages.values()})
    asked = {
        publish.message: publish
        for publish in notes.publishes
        if not publish.refusals
        and publish.answered - publish.began < SOON
        and epochs[publish.message] == 1
    }
    wrong = []
    for (room, _epoch), log in found.items():
        places: dict[int, dict[int, int]] = defaultdict(dict)
        for offset in log.offsets:
            message = log.messages[offset]
            mine = places[message // MILLION]
            if message not in asked or message in mine:
                continue
            last = max(mine, default=0)
            if message < last:
                before = max((at for one, at in mine.items() if one < message), default=0)
                if asked[message].sends == 1 or not _is_over(log, before, offset, kept):
                    wrong.append(f"{room} has {message} at {offset}, after {last}")
            mine[message] = offset
    return _complain("messages stand before earlier ones of the same member", wrong)


def first_answer_stands(notes: Notes, kept: Kept) -> list[str]:
    """However often an id is repeated, it is answered with the same offset while that is kept."""
    found = logs(notes)
    epochs = notes.epochs
    wrong = []
    for publish in notes.publishes:
        answers: dict[str, set[int]] = defaultdict(set)
        for ack in publish.acks:
            answers[epochs[ack.visit]].add(ack.offset)
        wrong += [
            f"{publish.message} in {publish.room} at {before} and {offset}"
            for epoch, offsets in answers.items()
            for before, offset in itertools.pairwise(sorted(offsets))
            if not _is_over(found[publish.room, epoch], before, offset, kept)
        ]
    return _complain("ids were answered with several offsets", wrong)


def all_acknowledged(notes: Notes) -> list[str]:
    """Who repeats a publish gets an acknowledgement in the end, and no refusal but for want of time."""
    open_ones = [publish for publish in notes.publishes if not publish.acks]
    reasons = Counter(
        refusal.reason
        for publish in notes.publishes
        for refusal in publish.refusals
        if refusal.reason != _LATE
    )
    return _complain(
        f"of {len(notes.publishes)} publishes were never acknowledged", _told(open_ones)
    ) + _complain("publishes were refused", [f"{n} {reason}" for reason, n in reasons.items()])


def all_in_time(notes: Notes, outages: Sequence[tuple[float, float]] = ()) -> list[str]:
    """A publish is answered within SOON, not counting the times without a broker."""
    late = []
    for publish in notes.publishes:
        began, end = publish.began, publish.answered
        down = sum(max(0.0, min(end, upto) - max(began, since)) for since, upto in outages)
        if end - began - down > SOON:
            late.append(f"{publish.message} in {publish.room} after {end - began:.1f} s")
    return _complain(f"publishes waited over {SOON:g} s for a broker that was there", late)


def all_back(notes: Notes) -> list[str]:
    """At the end every member is there."""
    members = {visit.member for visit in notes.visits}
    stayed = {visit.member for visit in notes.visits if visit.stayed and visit.joined}
    return _complain("members were not there at the end", sorted(members - stayed))


def none_sent_away(
    notes: Notes,
    codes: Collection[int] = (1001, 1012),
    outages: Sequence[tuple[float, float]] = (),
) -> list[str]:
    """No Close but of these codes, or as the answer to the client's; no visit without a sign of life.

    Who comes during an outage of the broker may be told to come back later.
    """
    allowed = {0, 1000, ABNORMAL, *codes}
    wrong = [
        f"visit {visit.number} in {visit.room}: {visit.trouble or visit.code}"
        for visit in notes.visits
        if visit.trouble in {"late", "quiet", "garbled"}
        or (visit.code not in allowed and not _was_put_off(visit, outages))
    ]
    return _complain("visits ended as none should", wrong)


def _was_put_off(visit: Visit, outages: Sequence[tuple[float, float]]) -> bool:
    came_during = any(since < visit.ended and visit.began < upto for since, upto in outages)
    return visit.code == _LATER and not visit.joined and came_during


def presence_is_right(
    notes: Notes,
    killed: Collection[int],
    outages: Sequence[tuple[float, float]] = (),
    at_once: float = AT_ONCE,
) -> list[str]:
    """Who was killed with its worker is not listed ``at_once``; who has left, and who has come, in TIME.

    ``killed`` are the pids of the workers. Members may be lacking until TIME after an outage.
    """
    visits = {visit.number: visit for visit in notes.visits}
    by_room: dict[str, list[Visit]] = defaultdict(list)
    for visit in _joined(notes.visits):
        by_room[visit.room].append(visit)
    ghosts, lacking = [], []
    for answer in notes.answers:
        for number in answer.listed:
            visit = visits[number]
            # Whoever went before it was let in may be let in later, and then be found to be gone.
            patience = at_once if visit.worker in killed else TIME if visit.joined else SOON
            if visit.ended and visit.ended < answer.asked - patience:
                ghosts.append(
                    f"visit {number} in {answer.room}, {answer.asked - visit.ended:.1f} s after its end"
                )
        if any(since < answer.answered and answer.asked < upto + TIME for since, upto in outages):
            continue
        listed = set(answer.listed)
        lacking += [
            f"visit {visit.number} in {answer.room}, {answer.asked - visit.joined:.1f} s after it came"
            for visit in by_room[answer.room]
            if visit.number not in listed and _was_there(visit, answer)
        ]
    return _complain("members were listed who had gone", ghosts) + _complain(
        "members were not listed", lacking
    )


def longest_silence(publishes: Iterable[Publish]) -> float:
    """Return the most seconds from the beginning of a publish to its first acknowledgement."""
    return max((each.acks[0].at - each.began for each in publishes if each.acks), default=0.0)


def _is_over(log: Log, before: int, offset: int, kept: Kept) -> bool:
    """Whether what was stored at ``before`` need not be known any more at ``offset``."""
    return len(log.between(before, offset)) > kept.messages or offset - before >= kept.size


def _was_there(visit: Visit, answer: Answer) -> bool:
    # Its worker may have let it go a moment before the client noticed.
    end = answer.answered + AT_ONCE
    return visit.joined < answer.asked - TIME and not 0 < visit.ended < end


def _joined(visits: Iterable[Visit]) -> Iterator[Visit]:
    return (visit for visit in visits if visit.joined)


def _reunions(notes: Notes) -> Iterator[tuple[Visit, Visit]]:
    """Yield each two visits of a member of which one follows the other."""
    members: dict[int, list[Visit]] = defaultdict(list)
    for visit in sorted(_joined(notes.visits), key=lambda visit: visit.joined):
        members[visit.member].append(visit)
    for visits in members.values():
        yield from itertools.pairwise(visits)


def _acknowledged_at(notes: Notes) -> dict[tuple[str, str, int], float]:
    """Return by room, epoch and offset when a message was known to be in its room."""
    epochs = notes.epochs
    times: dict[tuple[str, str, int], float] = {}
    for publish in notes.publishes:
        for ack in publish.acks:
            place = (publish.room, epochs[ack.visit], ack.offset)
            times[place] = min(ack.at, times.get(place, ack.at))
    return times


class _Ends:
    """How far an epoch's log had come at a time: all rooms share it, so any acknowledgement tells."""

    def __init__(self, times: Mapping[tuple[str, str, int], float]) -> None:
        epochs: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for (_room, epoch, offset), at in times.items():
            epochs[epoch].append((at, offset))
        self._times: dict[str, list[float]] = {}
        self._offsets: dict[str, list[int]] = {}
        for epoch, ends in epochs.items():
            ends.sort()
            self._times[epoch] = [at for at, _offset in ends]
            self._offsets[epoch] = list(itertools.accumulate((offset for _at, offset in ends), max))

    def at(self, epoch: str, when: float) -> int:
        known = bisect.bisect_right(self._times.get(epoch, []), when)
        return self._offsets[epoch][known - 1] if known else 0


def _told(publishes: Iterable[Publish]) -> list[str]:
    return [f"{each.message} in {each.room}, sent {each.sends} times" for each in publishes]


def _complain(what: str, wrong: Sequence[object]) -> list[str]:
    if not wrong:
        return []
    shown = ", ".join(map(str, wrong[:_SHOWN]))
    return [f"{len(wrong)} {what}; the first: {shown}"]
