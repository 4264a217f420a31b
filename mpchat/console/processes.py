"""What the kernel says of the service's processes, as metrics."""

from __future__ import annotations

import os
import resource
from collections import defaultdict
from collections.abc import Iterable, Iterator

from mpchat.console import catalogue as c
from mpchat.linux.accounting import disk_bytes, usage
from mpchat.linux.memory import smallest_bound
from mpchat.metrics.definition import Definition
from mpchat.metrics.families import Family

_OF_USAGE = (c.CPU, c.RSS, c.MAJOR_FAULTS)
_OF_DISKS = (c.READ_BYTES, c.WRITTEN_BYTES)
_DEFINITIONS = (*_OF_USAGE, *_OF_DISKS, c.OPEN_FILES, c.MAX_FILES)


def process_families(processes: Iterable[tuple[str, int]]) -> Iterator[Family]:
    """Return the metrics of processes, given by name and pid; those of one name are added up.

    What cannot be read is left out: a process may have just ended.
    """
    found: dict[Definition, defaultdict[str, float]] = {
        definition: defaultdict(float) for definition in _DEFINITIONS
    }
    for name, pid in processes:
        used = usage(pid)
        if used is None:
            continue
        values: list[tuple[Definition, float]] = [
            (c.CPU, used.cpu_seconds),
            (c.RSS, used.rss_bytes / 1024),
            (c.MAJOR_FAULTS, used.major_faults),
        ]
        if (disks := disk_bytes(pid)) is not None:
            values += zip(_OF_DISKS, disks, strict=True)
        if (files := _open_descriptors(pid)) is not None:
            values.append((c.OPEN_FILES, files))
        if (most := _most_descriptors(pid)) is not None:
            values.append((c.MAX_FILES, most))
        for definition, value in values:
            found[definition][name] += value
    for definition, by_name in found.items():
        yield definition.family(((name,), value) for name, value in by_name.items())


def memory_families(root: str = "/") -> Iterator[Family]:
    """Return how much memory is left, nothing if nothing can be read; ``root`` is for tests."""
    bound = smallest_bound(root)
    if bound is not None:
        yield c.MEMORY_LEFT.single(bound.bytes)


def _open_descriptors(pid: int) -> int | None:
    folder = f"/proc/{pid}/fd"
    try:
        # Since Linux 6.2 the folder says how many it has; 10,000 names take milliseconds to list.
        return os.stat(folder).st_size or len(os.listdir(folder))
    except OSError:
        return None


def _most_descriptors(pid: int) -> int | None:
    try:
        most = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    except OSError:
        return None
    return None if most == resource.RLIM_INFINITY else most
