"""The bars, as questions to the records of the clients and the ledger of the service.

Each returns what it found wrong as lines for people, nothing if the bar holds.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.records import ABNORMAL, Record

_ENDED = (1001, 1012)
"""What clients may be told when their worker ends."""
_BEFORE = {"refused", "reset", "silent", "late"}


@dataclass(frozen=True)
class Entry:
    """A line of the service's ledger: messages read before the Close, and what the handler knew."""

    read: int
    knew: bool


@dataclass(frozen=True)
class Kill:
    """When a worker was stopped in its tracks, and when it was killed."""

    stopped: float
    killed: float


def read_ledger(path: Path) -> dict[int, Entry]:
    """Return the entries by number of connection."""
    entries = {}
    for line in path.read_text().splitlines():
        number, read, knew = map(int, line.split())
        entries[number] = Entry(read, bool(knew))
    return entries


def none_turned_away(records: Sequence[Record], patience: float) -> list[str]:
    """Nobody is refused or reset, gets no answer, or waits longer than so many seconds for the 101."""
    turned_away = [r for r in records if not r.opened]
    return _complain("never got a 101", turned_away, records) + _complain(
        f"waited over {patience:g} s for the 101",
        [r for r in records if r.opened and r.wait > patience],
        records,
    )


def all_said_goodbye(records: Sequence[Record], codes: Iterable[int] = _ENDED) -> list[str]:
    """Who did not ask for the end saw one of these codes; who did, the answer to its Close, or these."""
    allowed = set(codes)
    opened = [r for r in records if r.opened]
    wrong = [
        r
        for r in opened
        if r.code not in (allowed | {1000} if r.asked else allowed) or r.trouble in _BEFORE
    ]
    named = " or ".join(map(str, sorted(allowed)))
    return _complain(f"ended without a Close of {named}", wrong, opened)


def all_answered(records: Sequence[Record], ledger: Mapping[int, Entry]) -> list[str]:
    """What the service read was answered in order before its Close, and all of it if the client asked."""
    opened = [r for r in records if r.opened]
    known = [r for r in opened if r.number in ledger]
    return (
        _complain("saw answers in disorder", [r for r in opened if r.trouble == "disorder"], opened)
        + _complain("are not in the ledger", [r for r in opened if r.number not in ledger], opened)
        + _complain(
            "were not answered what had been read before their Close",
            [r for r in known if r.answered != ledger[r.number].read],
            known,
        )
        + _complain(
            "said Close and were not answered all that came before",
            [r for r in known if r.asked and r.code == 1000 and r.answered != r.sent],
            known,
        )
        + _complain(
            "were told by a handler that did not know of the end",
            [r for r in known if r.code in _ENDED and not ledger[r.number].knew],
            known,
        )
    )


def only_killed_ended(records: Sequence[Record], kills: Mapping[int, Kill]) -> list[str]:
    """Who ended without a Close was a killed worker's own; ``kills`` is by pid.

    Who had no 101 yet cannot know whose it was. It may have been accepted if it came before a victim
    stood still and was lost when that one died.
    """
    lost = [r for r in records if r.trouble or r.code == ABNORMAL]
    wrong = [r for r in lost if not _was_killed(r, kills)]
    return _complain("ended that no killed worker had", wrong, records)


def _was_killed(record: Record, kills: Mapping[int, Kill]) -> bool:
    if record.trouble not in {"reset", "silent"}:
        return False
    if record.opened:
        return record.worker in kills and record.ended >= kills[record.worker].killed
    return any(
        record.began <= kill.stopped and record.ended >= kill.killed for kill in kills.values()
    )


def none_waited(records: Sequence[Record], kills: Mapping[int, Kill], patience: float) -> list[str]:
    """No 101 took more than so many seconds; killed workers' own clients are not asked."""
    waited = [r for r in records if r.wait > patience and not _was_killed(r, kills)]
    return _complain(f"waited over {patience:g} s", waited, records)


def rush(times: Iterable[float], begun: float, window: float, bins: int) -> tuple[float, float]:
    """Return mean and 99th percentile of how many of these times fall into each part of a window."""
    found = Counter(min(int((at - begun) / window * bins), bins - 1) for at in times)
    counts = sorted(found[index] for index in range(bins))
    return found.total() / bins, counts[math.ceil(0.99 * bins) - 1]


def never_falls(samples: Sequence[Mapping[str, int]]) -> list[str]:
    """Return a line for each fall of a total."""
    return [
        f"the total {name} fell from {before[name]} to {after[name]}"
        for before, after in itertools.pairwise(samples)
        for name in before
        if after[name] < before[name]
    ]


def milliseconds(seconds: float) -> str:
    """Return a time for people."""
    return f"{seconds * 1000:.0f} ms"


def longest_wait(records: Iterable[Record]) -> str:
    """Return it for people."""
    return milliseconds(max(r.wait for r in records if r.opened))


def count(records: Iterable[Record], wanted: Callable[[Record], bool]) -> int:
    """Return how many there are."""
    return sum(map(wanted, records))


def _complain(what: str, wrong: Sequence[Record], among: Sequence[Record]) -> list[str]:
    if not wrong:
        return []
    kinds = Counter(r.trouble or f"code {r.code}" for r in wrong)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
    return [f"{len(wrong)} of {len(among)} connections {what} ({told}); the first: {wrong[0]}"]
