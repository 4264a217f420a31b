"""What the kernel has counted of a process: CPU time, memory, faults, bytes (proc(5)).

Rules. A process may end at any moment, or belong to another user: None stands for what cannot be read.
"""

from __future__ import annotations

import os
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """One process at one moment."""

    cpu_seconds: float
    """In user mode and in the kernel, of all its threads"""
    rss_bytes: int
    """Memory that is resident, with all pages that it shares with others"""
    major_faults: int
    """Pages that had to be read from a disk"""


def usage(pid: int) -> Usage | None:
    """Return what ``/proc/PID/stat`` says."""
    try:
        # Without a buffer, as below: of dozens of processes, making it takes longer than reading.
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.read(_PAGE).rpartition(b")")[2].split()
    except OSError:
        return None
    # The third field of stat is the first here.
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    return Usage(cpu, int(fields[21]) * _PAGE, int(fields[9]))


def cpu_seconds(pid: int) -> float | None:
    """Return the CPU time of a process."""
    found = usage(pid)
    return None if found is None else found.cpu_seconds


def pss_bytes(pid: int) -> int | None:
    """Return the memory of a process, with shared pages divided among their processes (PSS).

    The kernel looks at each page for it, which takes it milliseconds for a large process.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def disk_bytes(pid: int) -> tuple[int, int] | None:
    """Return the bytes that a process had read from and written to disks."""
    try:
        with open(f"/proc/{pid}/io", "rb", buffering=0) as file:
            words = file.read(_PAGE).split()
    except OSError:
        return None
    fields = dict(zip(words[::2], words[1::2], strict=True))
    return int(fields[b"read_bytes:"]), int(fields[b"write_bytes:"])


def run_delay() -> float | None:
    """Return the seconds for which this thread was ready to run and waited for a CPU."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return None
