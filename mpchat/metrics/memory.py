"""The memory of authors' metrics: shared by the processes of a service, one for each edition.

Rules. It begins with its directory, which never changes; then come carried totals, those of earlier
memories, and then an area for each row of each slot. An area has one writer at a time, a worker, and a
worker goes on from what it finds there. So totals outlive workers; the supervisor zeroes the gauges of a
dead one. Every value is a double, stored as a whole.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
from collections.abc import Iterable, Iterator, Sequence

from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.metrics.directory import Entry, parse, parse_each
from mpchat.scoreboard.scoreboard import ROWS, SLOTS

MAGIC = 0x6D70_6D65_7472_0001
"""The letters mpmetr and the version of this layout."""

_HEADER = struct.Struct("=QQ")
"""MAGIC, and the bytes of the directory"""
_LINE = 64
"""Bytes of a cache line: no two workers write to the same one."""
_PER_LINE = _LINE // 8
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class Memory:
    """The mapped memory: the same class for the supervisor, workers and readers.

    Attributes:
        descriptor: Belongs to this object; ``close`` closes it.
        declared: The metrics of the edition, which workers write.
        carried: Metrics that the edition lacks, or has with other labels: totals only.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = system.mmap(descriptor, system.fstat(descriptor).st_size)
        magic, length = _HEADER.unpack_from(self._map)
        if magic != MAGIC:
            raise ValueError("this is no memory of metrics of this version of mpchat")
        directory = json.loads(self._map[_HEADER.size : _HEADER.size + length])
        self.declared = parse(directory["declared"])
        self.carried = parse_each(directory["carried"])
        self._own = _size(self.declared)
        self._all = self._own + _size(self.carried)
        self._values = memoryview(self._map)[_start(length) :].cast("d")

    @classmethod
    def create(
        cls, declared: Sequence[Entry], totals: Sequence[tuple[Entry, Sequence[float]]] = ()
    ) -> Memory:
        """Make the memory of an edition; ``totals`` are those of earlier memories.

        Raises:
            OSError: The system refuses the descriptor or the memory; nothing is left behind.
        """
        ours = {entry.identity for entry in declared}
        known = {entry.identity: values for entry, values in totals}
        carried = [entry for entry, _values in totals if entry.identity not in ours]
        directory = {"declared": _to_json(declared), "carried": _to_json(carried)}
        text = json.dumps(directory).encode()
        own, start = _size(declared), _start(len(text))
        first_area = start + 8 * _rounded(own + _size(carried))
        descriptor = system.memfd_create("mpchat-metrics", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            # What the supervisor itself writes: if memory were missing then, it would be killed.
            system.posix_fallocate(descriptor, 0, first_area)
            system.ftruncate(descriptor, first_area + 8 * SLOTS * ROWS * _rounded(own))
            # If a process could shrink it, all others would die of SIGBUS at their next access.
            system.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            content = memoryview(_HEADER.pack(MAGIC, len(text)) + text)
            offset = 0
            while offset < len(content):
                offset += system.pwrite(descriptor, content[offset:], offset)
            memory = cls(descriptor)
        except BaseException:
            fds.close(descriptor)
            raise
        start = 0
        for entry in (*declared, *carried):
            for place, value in enumerate(known.get(entry.identity, ()), start):
                memory._values[place] = value
            start += entry.size
        return memory

    def area(self, slot: int, row: int) -> memoryview[float]:
        """Return the values of one row of a slot; only its worker may write them."""
        if not (0 <= slot < SLOTS and 0 <= row < ROWS):
            raise IndexError(f"there is no area for slot {slot} row {row}")
        start = _rounded(self._all) + (slot * ROWS + row) * _rounded(self._own)
        return self._values[start : start + self._own]

    def columns(self, slots: int) -> Iterator[tuple[Entry, list[tuple[float, ...]]]]:
        """Return each metric with its values: of each, what was carried and what every row has.

        ``slots`` is the number of slots that have ever had a worker.
        """
        areas = [self.area(slot, row).tolist() for slot in range(slots) for row in range(ROWS)]
        carried = self._values[: self._all].tolist()
        columns = [*zip(carried[: self._own], *areas, strict=True)]
        columns += [(value,) for value in carried[self._own :]]
        start = 0
        for entry in (*self.declared, *self.carried):
            yield entry, columns[start : start + entry.size]
            start += entry.size

    def zero_gauges(self, slot: int, row: int) -> None:
        """Zero the gauges of a dead worker; its totals stay."""
        start = 0
        with self.area(slot, row) as values:
            for entry in self.declared:
                for place in range(start, start + entry.size if entry.kind == "gauge" else start):
                    values[place] = 0.0
                start += entry.size

    def close(self) -> None:
        """Unmap; areas handed out must have been released."""
        self._values.release()
        self._map.close()
        fds.close(self.descriptor)


def _to_json(entries: Iterable[Entry]) -> list[dict[str, object]]:
    return [entry.to_json() for entry in entries]


def _size(entries: Iterable[Entry]) -> int:
    return sum(entry.size for entry in entries)


def _rounded(values: int) -> int:
    """Return a number of values that fills whole cache lines."""
    return -(-values // _PER_LINE) * _PER_LINE


def _start(length: int) -> int:
    """Return where the values begin behind a directory of that many bytes."""
    return -(-(_HEADER.size + length) // _LINE) * _LINE
