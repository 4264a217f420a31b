"""What the members of rooms note, and how it travels to the judge.

Times are seconds of the system's monotonic clock, which all processes share; 0 is never. A message is one
number, its member's times a million and a running one: it tells who said it, and in which order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import IO, Any

from tests.chaos.records import Record

MILLION = 1_000_000
_NESTED = {"acks", "refusals"}


@dataclass(slots=True)
class Visit(Record):
    """One connection of a member: ``answered`` counts acknowledgements, ``sent`` publishes.

    A visit that never got the first frame has no time in ``joined``, and saw nothing.
    """

    member: int = 0
    room: str = ""
    since: str = ""
    """The position that it gave, empty for none"""
    joined: float = 0.0
    """When the first frame arrived; what it said follows"""
    epoch: str = ""
    offset: int = 0
    recovered: bool = False
    offsets: list[int] = field(default_factory=list)
    """Of the messages seen, in the order in which they came, and the messages"""
    messages: list[int] = field(default_factory=list)
    stayed: bool = False
    """Whether it was open when all was over and everybody had had time to see everything"""
    closed: float = 0.0
    """When the server's Close arrived"""
    silence: float = 0.0
    """Seconds without a byte after which it is dropped, heartbeats or not; 0: as they were promised"""

    @property
    def since_epoch(self) -> str:
        return self.since.split(":")[0]

    @property
    def since_offset(self) -> int:
        return int(self.since.split(":")[1])

    @property
    def last(self) -> int:
        """The offset up to which it has seen all."""
        return self.offsets[-1] if self.offsets else self.offset


@dataclass(slots=True)
class Ack:
    """One answer to a publish: the visit that got it, the offset, and when."""

    visit: int
    offset: int
    at: float


@dataclass(slots=True)
class Refusal:
    """Another answer: why not, and when."""

    reason: str
    at: float


@dataclass(slots=True)
class Publish:
    """What a member said, once or repeatedly with the same id."""

    message: int
    room: str
    began: float
    sends: int = 0
    acks: list[Ack] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def member(self) -> int:
        return self.message // MILLION

    @property
    def answered(self) -> float:
        """When it was answered for the first time, in whatever way; 0 is never."""
        times = [ack.at for ack in self.acks] + [refusal.at for refusal in self.refusals]
        return min(times, default=0.0)


@dataclass(slots=True)
class Answer:
    """Who was in a room, by visits, as a member was told that had asked."""

    room: str
    asked: float
    answered: float
    listed: list[int] = field(default_factory=list)


@dataclass
class Notes:
    """All that the members of a service noted."""

    visits: list[Visit] = field(default_factory=list)
    publishes: list[Publish] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def epochs(self) -> dict[int, str]:
        """That of each visit, by its number."""
        return {visit.number: visit.epoch for visit in self.visits}

    def without_acks(self) -> Notes:
        """Return the same but for what publishes were answered."""
        publishes = [replace(publish, acks=[]) for publish in self.publishes]
        return Notes(self.visits, publishes, self.answers)

    def write(self, file: IO[str]) -> None:
        """Write each on a line."""
        for note in (*self.visits, *self.publishes, *self.answers):
            file.write(json.dumps({type(note).__name__: _values(note)}) + "\n")

    def add(self, file: Iterable[str]) -> None:
        """Take in what ``write`` wrote."""
        for line in file:
            ((kind, values),) = json.loads(line).items()
            if kind == "Visit":
                self.visits.append(Visit(*values))
            elif kind == "Publish":
                *plain, acks, refusals = values
                publish = Publish(*plain)
                publish.acks = [Ack(*each) for each in acks]
                publish.refusals = [Refusal(*each) for each in refusals]
                self.publishes.append(publish)
            else:
                self.answers.append(Answer(*values))


def _values(note: Any) -> list[Any]:
    # dataclasses.astuple copies each number of a list.
    found = []
    for each in fields(note):
        value = getattr(note, each.name)
        found.append([_values(one) for one in value] if each.name in _NESTED else value)
    return found
