"""Every death of a broker within a write to its history, at each byte, and what the next ones find.

A log of small segments is written over several laps. For each of its writes, and each number of its
bytes, a copy of the file with only so many of them is recovered: it must hold exactly the whole
records, know their ids, and find each room's. Then the next broker writes on, dies within that write as
well, and a third one must find the same. The kernel copies in order, so a death leaves a beginning;
should it ever leave other pieces, the file must be as if they were not there, or say that it is
damaged.

    python -m tests.cuts [--seeds N]

Not in tests/chaos: no process is killed here. The short form is in tests/unit/broker/test_cuts.py.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mpchat.broker.history import History
from mpchat.broker.reading import Limits
from mpchat.broker.segments import FOOTER, HEADER_SIZE
from mpchat.ipc import records
from mpchat.ipc.records import BINARY, CLOSED, KEYED, MESSAGE
from mpchat.linux import system

ALL = Limits(1 << 30, 1 << 30, 1 << 60)
NOW = 5_000_000
WINDOW = 1_000
"""Of the same milliseconds as the clock, which stands still while a broker lives"""


@dataclass(frozen=True)
class Scale:
    """How much is tried.

    Attributes:
        segment: Bytes of a segment.
        slots: Segments of the file.
        turns: Turns that are written.
        largest: Bytes of a payload.
        same: All records have one size.
        step: Milliseconds between turns: with more than nothing, ids expire.
        cuts: A death at each byte.
        pieces: So many images with other pieces than a beginning, of each write.
        further: The share of images with which two more brokers go on.
    """

    segment: int = 512
    slots: int = 4
    turns: int = 18
    largest: int = 50
    same: bool = False
    step: int = 0
    cuts: bool = True
    pieces: int = 0
    further: float = 0.3


SHORT = Scale()
LONG = (
    Scale(turns=80, further=1),
    Scale(turns=60, same=True, further=1),
    Scale(segment=2048, turns=60, largest=600, further=1),
    Scale(segment=1024, slots=7, turns=90, step=50, further=1),
    Scale(turns=60, cuts=False, pieces=100, further=1),
    Scale(turns=60, same=True, cuts=False, pieces=100, further=1),
)


class Everything:
    """All rooms."""

    def __contains__(self, _room: object) -> bool:
        return True


@dataclass
class Write:
    """One write of the log.

    Attributes:
        image: The file before.
        now: The clock.
        known: All records that were in the file, of all time, oldest first.
        floors: The log's floor before, and the highest that may be after.
    """

    image: bytes
    place: int
    content: bytes
    now: int
    known: list[bytes]
    floors: tuple[int, int]


@dataclass
class Tally:
    """What came of it."""

    images: int = 0
    wrong: list[str] = field(default_factory=list)


def contained(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the records in one write, each with where it ends."""
    place = HEADER_SIZE if content.startswith(b"mpc1") else 0
    while place < len(content) and content[place + 4] != FOOTER:
        size = int.from_bytes(content[place : place + 4], "little")
        yield place + size, content[place : place + size]
        place += size


def whole(image: bytes, place: int, content: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the records of a write that are in the file from their first byte on, and the others."""
    cut = 0
    while cut < len(content) and content[cut] == image[place + cut]:
        cut += 1
    found: tuple[list[bytes], list[bytes]] = [], []
    for end, record in contained(content):
        found[end > cut].append(record)
    return found


@contextmanager
def recorded(writes: list[tuple[int, bytes, bytes]]) -> Iterator[None]:
    """Note each write: its place, its bytes, and the file before."""
    real = system.pwrite

    def pwrite(descriptor: int, content: bytes, place: int) -> int:
        before = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        writes.append((place, content, before))
        return real(descriptor, content, place)

    system.pwrite = pwrite  # type: ignore[assignment]
    try:
        yield
    finally:
        system.pwrite = real


class Cuts:
    """One log, and all deaths in it; ``history`` may have a planted mistake."""

    def __init__(self, scale: Scale, seed: int, history: type[History] = History) -> None:
        self.scale = scale
        self.history = history
        self.now = NOW
        self.chance = random.Random(seed)
        self.counter = 0
        self.file = os.memfd_create("cuts", os.MFD_CLOEXEC)
        os.ftruncate(self.file, scale.segment * scale.slots)

    def open(self) -> History:
        """Return the log of a new broker."""
        return self.history(
            self.file, segment=self.scale.segment, window=WINDOW, clock=lambda: self.now
        )

    def publish(self, log: History, payload: int | None = None) -> None:
        """Append a record of chance."""
        chance, scale = self.chance, self.scale
        self.counter += 1
        room = b"r%d" % chance.randrange(3)
        if payload is None:
            payload = scale.largest if scale.same else chance.randrange(scale.largest)
        keyed = scale.same or chance.random() < 0.5
        kind = CLOSED if not scale.same and chance.random() < 0.1 else MESSAGE
        log.append(
            kind,
            BINARY | (KEYED if keyed else 0),
            room,
            b"",
            self.key(self.counter) if keyed else b"",
            chance.randbytes(payload),
            1,
            7,
            self.counter,
        )

    @staticmethod
    def key(counter: int) -> bytes:
        """Return the key of the publish with this number."""
        return b"%016d" % counter

    def writes(self) -> list[Write]:
        """Write the log, and return its writes."""
        taken: list[tuple[int, bytes, bytes]] = []
        found: list[Write] = []
        known: list[bytes] = []
        with recorded(taken):
            log = self.open()
            taken.clear()
            for _ in range(self.scale.turns):
                floor = log.floor
                for _ in range(2 if self.scale.same else self.chance.choice((1, 1, 3))):
                    self.publish(log)
                answered = log.commit()
                stored: list[bytes] = []
                for place, content, image in taken:
                    floors = floor, log.floor
                    found.append(Write(image, place, content, self.now, list(known), floors))
                    within = [record for _end, record in contained(content)]
                    known += within
                    stored += within
                assert stored == answered, "what is answered is what is stored"
                taken.clear()
                self.now += self.scale.step
        return found

    def run(self, wrong: int = 1 << 30) -> Tally:
        """Try all of it, or until so many images were wrong."""
        tally = Tally()
        for write in self.writes():
            self.now = write.now
            if len(tally.wrong) >= wrong:
                break
            for cut in range(len(write.content) + 1) if self.scale.cuts else ():
                self._try(tally, write, cut, self._cut(write, cut))
            for _ in range(self.scale.pieces):
                self._try(tally, write, *self._pieces(write), loud=True)
        os.close(self.file)
        return tally

    def _cut(self, write: Write, cut: int) -> bytes:
        end = write.place + cut
        return write.image[: write.place] + write.content[:cut] + write.image[end:]

    def _pieces(self, write: Write) -> tuple[int, bytes]:
        """Return where the first missing piece begins, and the image."""
        image, first, place = bytearray(write.image), len(write.content), 0
        ends = [end for end, _record in contained(write.content)]
        pieces = ends if self.chance.random() < 0.5 else range(64, len(write.content) + 64, 64)
        for border in pieces:
            end = min(border, len(write.content))
            if self.chance.random() < 0.5:
                image[write.place + place : write.place + end] = write.content[place:end]
            else:
                first = min(first, place)
            place = end
        return first, bytes(image)

    def _try(self, tally: Tally, write: Write, cut: int, image: bytes, loud: bool = False) -> None:
        """Recover an image, write on, die within that, recover."""
        tally.images += 1
        os.pwrite(self.file, image, 0)
        try:
            there, torn = whole(image, write.place, write.content)
            expected = write.known + there
            log = self.open()
            if log.damage and loud:
                return
            self._judge(log, expected, write.floors)
            self._ids(log, write, there, torn)
            if self.chance.random() < self.scale.further:
                self._go_on(log, expected, len(torn[0]) if torn else 0, loud)
        except AssertionError as error:
            tally.wrong.append(f"cut at {cut} of {len(write.content)}: {error}")

    def _judge(self, log: History, expected: list[bytes], floors: tuple[int, int]) -> None:
        assert not log.damage, log.damage
        assert floors[0] <= log.floor <= floors[1], f"floor {log.floor}, not {floors}"
        kept = [record for record in expected if records.offset_of(record) >= log.floor]
        assert everything(log) == kept, "other records than the whole ones"
        for room in (b"r0", b"r1", b"r2"):
            own = [record for record in kept if records.parse(record).room == room]
            last = records.offset_of(own[-1]) if own else None
            assert log.rooms.get(room) == last, "the room's last record is another one"
            closed = [place for place, record in enumerate(own) if record[4] == CLOSED]
            own = own[closed[-1] + 1 :] if closed else own
            found = log.since(room, 0, ALL)
            assert found.records == own, "the room's records are others"
            assert not found.recovered, "nobody knows what was before"
            for place in {0, len(own) // 2, len(own) - 1} if own else ():
                found = log.since(room, records.offset_of(own[place]), ALL)
                assert found == (True, own[place + 1 :], False, False), (
                    "a position is not recovered"
                )
            assert log.since(room, log.mark, ALL) == (True, [], False, False), (
                "the mark is not recovered"
            )

    def _ids(self, log: History, write: Write, there: list[bytes], torn: list[bytes]) -> None:
        for record in there + torn:
            fields = records.parse(record)
            at = (fields.offset, fields.at) if record in there else None
            assert log.find_own(7, fields.counter) == at, "a worker's id"
            if fields.key:
                assert log.find_key(fields.key) == at, "a client's id"
        for record in write.known[-5:]:
            fields = records.parse(record)
            if fields.offset >= log.floor and fields.stamp >= self.now - WINDOW:
                assert log.find_own(7, fields.counter), "a worker's id is forgotten"
                assert not fields.key or log.find_key(fields.key), "a client's id is forgotten"

    def _go_on(self, log: History, expected: list[bytes], torn: int, loud: bool) -> None:
        """Write, first a record of the torn one's size, and die within that write, too."""
        payload = max(0, torn - records.size_of(b"r0", b"", b"", b""))
        floor, taken = log.floor, list[tuple[int, bytes, bytes]]()
        with recorded(taken):
            log.append(MESSAGE, 0, b"r0", b"", b"", bytes(payload), 1, 8, 1)
            if self.chance.random() < 0.5:
                log.append(MESSAGE, 0, b"r1", b"", b"", b"y", 1, 8, 2)
            written = log.commit()
        end, last = log.end, log.floor
        again = self.open()
        if again.damage and loud:
            return
        assert again.end == end, f"the log ends at {again.end}, not {end}"
        self._judge(again, expected + written, (floor, last))
        assert again.find_own(8, len(written)), "a worker's id is forgotten"
        place, content, image = taken[-1]
        cut = self.chance.randrange(len(content) + 1)
        image = image[:place] + content[:cut] + image[place + cut :]
        os.pwrite(self.file, image, 0)
        before = [
            record for _place, earlier, _image in taken[:-1] for _end, record in contained(earlier)
        ]
        there, _torn = whole(image, place, content)
        third = self.open()
        if not (third.damage and loud):
            self._judge(third, expected + before + there, (floor, last))


def everything(log: History) -> list[bytes]:
    """Return all records that are kept, as a worker that is behind gets them."""
    found: list[bytes] = []
    offset = log.floor
    while offset < log.end:
        some, offset = log.follow(offset, Everything())
        found += some
    return found


def main() -> int:
    """Try all scales."""
    parser = argparse.ArgumentParser(prog="python -m tests.cuts", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="logs of each kind")
    failed = False
    for scale in LONG:
        for seed in range(parser.parse_args().seeds):
            began = time.monotonic()
            tally = Cuts(scale, seed).run()
            failed |= bool(tally.wrong)
            seconds = time.monotonic() - began
            print(
                f"{scale}, seed {seed}: {tally.images} images, {len(tally.wrong)} wrong, {seconds:.0f} s"
            )
            print("".join(f"    {line}\n" for line in tally.wrong[:3]), end="", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
