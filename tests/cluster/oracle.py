"""The bars, as questions to what the clients noted; see also tests/chaos/rooms_judge.py.

Each returns what it found wrong as lines for people, nothing if the bar holds. Times are seconds of the
system's monotonic clock.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.chaos import rooms_judge
from tests.chaos.rooms_judge import Kept
from tests.chaos.sightings import Notes, Visit
from tests.cluster.proxy import CHECK_TIME

_SHOWN = 3
_DRAINED = (1001, 1012)
_AT_ONCE = 1.0
"""Seconds until who was sent away, or has given up a dead host, is there again."""
_LATER, _PUT_OFF = 1013, 9.5
"""The code that puts off who has waited for a stream in vain, and more than so many seconds"""
_ALL = Kept(messages=1_000_000, size=1 << 53)
"""The stream keeps everything; its offsets are numbers, not bytes."""


@dataclass(frozen=True)
class Loss:
    """A host whose network was cut.

    Attributes:
        mark: What its clients noted of it.
        at: When that was.
    """

    mark: int
    at: float


def all_and_once(notes: Notes) -> list[str]:
    """Each acknowledged message reaches each member once, in the room's order; all come back to it."""
    return (
        rooms_judge.one_order(notes)
        + rooms_judge.none_missed(notes)
        + rooms_judge.none_doubled(notes, _ALL)
        + rooms_judge.told_truly(notes, _ALL)
        + rooms_judge.in_publishers_order(notes, _ALL)
        + rooms_judge.first_answer_stands(notes, _ALL)
        + rooms_judge.all_acknowledged(notes)
        + rooms_judge.all_back(notes)
        + _unseen(notes)
        + _complain(
            "visits have not recovered their position",
            [_told(v) for v in notes.visits if v.joined and v.since and not v.recovered],
        )
    )


def _unseen(notes: Notes) -> list[str]:
    """Name messages that were acknowledged, and that nobody has seen: rooms always have members."""
    seen = {(visit.room, offset) for visit in notes.visits for offset in visit.offsets}
    unseen = [
        f"{publish.message} in {publish.room} at {publish.acks[0].offset}"
        for publish in notes.publishes
        if publish.acks and (publish.room, publish.acks[0].offset) not in seen
    ]
    return _complain("messages were acknowledged, and seen by nobody", unseen)


def none_refused(notes: Notes, loss: Loss | None = None) -> list[str]:
    """Each attempt to connect is answered by a 101, but for those that a lost host had just taken."""
    wrong = [
        visit
        for visit in notes.visits
        if not visit.opened and not _went(visit) and not _was_lost(visit, loss)
    ]
    return _complain("attempts to connect failed", map(_told, wrong))


def none_ended(notes: Notes, drained: Iterable[int] = (), loss: Loss | None = None) -> list[str]:
    """A connection ends by its client, or by the end of its host: these marks were drained, or lost.

    Who joins while NATS chooses a leader may be told to come back after ten seconds of waiting.
    """
    marks = set(drained)
    wrong = [
        visit
        for visit in notes.visits
        if visit.opened
        and not _went(visit)
        and not _was_put_off(visit)
        and not (visit.code in _DRAINED and visit.worker in marks)
        and not _was_lost(visit, loss)
    ]
    return _complain("connections ended as none should", map(_told, wrong))


def back_at_once(notes: Notes, mark: int) -> list[str]:
    """Whoever a drained host sent away is a member again within a second."""
    sent_away = [v for v in notes.visits if v.worker == mark and v.code in _DRAINED]
    if not sent_away:
        return [f"host {mark} had no clients to send away"]
    late = _late(notes, sent_away, lambda visit: visit.closed + _AT_ONCE)
    return _complain(f"clients of host {mark} were not back within {_AT_ONCE:g} s", late)


def back_in_time(notes: Notes, loss: Loss) -> list[str]:
    """Whoever a lost host had is a member again soon after it was seen to be lost."""
    lost = [v for v in notes.visits if v.trouble and _was_lost(v, loss)]
    if not any(visit.joined for visit in lost):
        return [f"host {loss.mark} had no clients to lose"]
    rest = CHECK_TIME + _AT_ONCE
    late = _late(notes, lost, lambda visit: loss.at + visit.silence + rest)
    return _complain(f"clients of host {loss.mark} were not back {rest:g} s after their time", late)


def served(notes: Notes, mark: int, since: float = 0.0) -> list[str]:
    """A host has let members in after a time."""
    if any(visit.worker == mark and visit.joined > since for visit in notes.visits):
        return []
    return [f"host {mark} has let nobody in"]


def numbers(notes: Notes) -> dict[str, int | str]:
    """Return what was done, for people."""
    waits = [each.acks[0].at - each.began for each in notes.publishes if each.acks]
    chains = _chains(notes)
    back = [
        after.joined - before.ended
        for chain in chains.values()
        for before, after in itertools.pairwise(chain)
        if before.ended and after.joined
    ]
    return {
        "members": len(chains),
        "connections": len(notes.visits),
        "messages": len(notes.publishes),
        "seen": sum(len(visit.offsets) for visit in notes.visits),
        "repeated": sum(each.sends > 1 for each in notes.publishes),
        "acknowledged within": _spread(waits),
        "back within": _spread(back),
    }


def _went(visit: Visit) -> bool:
    """Whether a client has ended its connection by itself."""
    return visit.asked and not visit.trouble


def _was_put_off(visit: Visit) -> bool:
    return visit.code == _LATER and not visit.joined and visit.closed - visit.opened > _PUT_OFF


def _was_lost(visit: Visit, loss: Loss | None) -> bool:
    """Whether a connection can have ended because its host was cut off."""
    if loss is None or visit.ended < loss.at:
        return False
    if visit.opened:
        return visit.worker == loss.mark and visit.opened < loss.at
    return loss.at - _AT_ONCE < visit.began < loss.at + CHECK_TIME


def _late(notes: Notes, ended: Iterable[Visit], limit: Callable[[Visit], float]) -> list[str]:
    """Name visits after which a member was not there again by a time."""
    chains = _chains(notes)
    late = []
    for visit in ended:
        chain = chains[visit.member]
        for after in chain[chain.index(visit) + 1 :]:
            if after.joined:
                if after.joined > limit(visit):
                    late.append(f"{_told(visit)}: {after.joined - limit(visit):.2f} s too late")
                break
            if _went(after):
                break
        else:
            late.append(f"{_told(visit)}: never")
    return late


def _chains(notes: Notes) -> dict[int, list[Visit]]:
    """Return each member's visits in their order."""
    chains: dict[int, list[Visit]] = defaultdict(list)
    for visit in sorted(notes.visits, key=lambda visit: visit.began):
        chains[visit.member].append(visit)
    return chains


def _spread(times: Iterable[float]) -> str:
    found = sorted(times)
    if not found:
        return "none"
    half, most = found[len(found) // 2], found[len(found) * 99 // 100]
    return f"{half:.3f} s (50 %), {most:.3f} s (99 %), {found[-1]:.3f} s"


def _told(visit: Visit) -> str:
    how = visit.trouble or f"code {visit.code}"
    return f"visit {visit.number} of member {visit.member} at {visit.worker}: {how}"


def _complain(what: str, wrong: Iterable[str]) -> list[str]:
    found = list(wrong)
    if not found:
        return []
    return [f"{len(found)} {what}; the first: {', '.join(found[:_SHOWN])}"]
