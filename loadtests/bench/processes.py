"""What /proc says of a running server: all its processes, their CPU time, their memory."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


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


def pss_kib(pids: list[int]) -> int:
    """Return the memory of some processes, in KiB, shared pages divided among those that share them."""
    total = 0
    for pid in pids:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total
