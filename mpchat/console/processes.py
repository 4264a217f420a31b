"""What the kernel says of the service's processes, as metrics."""

from __future__ import annotations

import os
import resource
from collections import defaultdict
from collections.abc import Iterable, Iterator

from mpchat.console import catalogue as c
from mpchat.linux.accounting import disk_bytes, usage
from mpchat.linux.memory import smallest_bound
from mpchat.metrics.families import Family, Labels

_DEFINITIONS = (
    c.CPU,
    c.RSS,
    c.MAJOR_FAULTS,
    c.READ_BYTES,
    c.WRITTEN_BYTES,
    c.OPEN_FILES,
    c.MAX_FILES,
)


def process_families(processes: Iterable[tuple[str, int]]) -> Iterator[Family]:
    """Return the metrics of processes, given by name and pid; those of one name are added up.

    What cannot be read is left out: a process may have just ended.
    """
    found: list[defaultdict[Labels, float]] = [defaultdict(float) for _ in _DEFINITIONS]
    for name, pid in processes:
        used = usage(pid)
        if used is None:
            continue
        values = (
            used.cpu_seconds,
            used.rss_bytes / 1024,
            used.major_faults,
            *(disk_bytes(pid) or (None, None)),
            _open_descriptors(pid),
            _most_descriptors(pid),
        )
        labels = ((c.PROCESS_LABEL, name),)
        for by_name, value in zip(found, values, strict=True):
            if value is not None:
                by_name[labels] += value
    for definition, by_name in zip(_DEFINITIONS, found, strict=True):
        yield definition.of_each(by_name.keys(), by_name.values())


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
