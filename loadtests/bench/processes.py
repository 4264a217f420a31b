"""What /proc says of a running server: all its processes, their CPU time, their memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
ESTABLISHED = "01"


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for task in (PROC / str(pid) / "task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


def cpu_ns(pids: list[int]) -> int:
    """Return the CPU time of all threads of some processes, as the scheduler counts it.

    It is exact for a thread that sleeps, so ask when the server has nothing to do.
    """
    return sum(
        int((task / "schedstat").read_text().split()[0])
        for pid in pids
        for task in (PROC / str(pid) / "task").iterdir()
    )


def clients(pids: list[int], port: int) -> dict[int, int]:
    """Return how many connections to a port of ours each process holds open; those with none left out."""
    lines = (line.split() for line in (PROC / "net" / "tcp").read_text().splitlines()[1:])
    sockets = {
        f"socket:[{words[9]}]"
        for words in lines
        if words[1].endswith(f":{port:04X}") and words[3] == ESTABLISHED
    }
    held = {pid: sum(link in sockets for link in _descriptors(pid)) for pid in pids}
    return {pid: number for pid, number in held.items() if number}


def _descriptors(pid: int) -> Iterator[str]:
    for entry in (PROC / str(pid) / "fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            yield str(entry.readlink())


def pss_kib(pids: list[int]) -> int:
    """Return the memory of some processes, in KiB, shared pages divided among those that share them."""
    total = 0
    for pid in pids:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total
