"""What the kernel says of memory and CPU time: of the service, of its clients, and of the machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .. import processes

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Reading:
    """Memory at one moment, in KiB.

    Attributes:
        rss, pss: Of all processes of the service together.
        clients: PSS of all client processes.
        available: What the kernel could still give (MemAvailable).
        slab: The kernel's objects, sockets among them.
        sockets: TCP sockets, both ends of each connection.
        buffers: What they have in their queues.
    """

    rss: int
    pss: int
    clients: int
    available: int
    slab: int
    sockets: int
    buffers: int


def read(service: Iterable[int], clients: Iterable[int]) -> Reading:
    """Read now; reading PSS costs a tenth of a second for each GiB."""
    memory = fields((PROC / "meminfo").read_text())
    tcp = sockstat((PROC / "net/sockstat").read_text())
    ours = [fields((PROC / str(pid) / "smaps_rollup").read_text()) for pid in service]
    return Reading(
        sum(one["Rss"] for one in ours),
        sum(one["Pss"] for one in ours),
        processes.pss_kib(list(clients)),
        memory["MemAvailable"],
        memory["Slab"],
        tcp["alloc"],
        tcp["mem"] * os.sysconf("SC_PAGE_SIZE") // 1024,
    )


def fields(text: str) -> dict[str, int]:
    """Return the numbers of lines such as ``Pss: 12 kB``."""
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if words[-1] == "kB"}


def sockstat(text: str) -> dict[str, int]:
    """Return the numbers of the line ``TCP: inuse 3 orphan 0 ...``."""
    line = next(line for line in text.splitlines() if line.startswith("TCP:"))
    words = line.split()[1:]
    return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}


def slabs(text: str) -> dict[str, int]:
    """Return the KiB that each cache of /proc/slabinfo takes, by its name."""
    found = {}
    for line in text.splitlines()[2:]:
        words = line.split()
        pages_per_slab, slabs_in_all = int(words[5]), int(words[14])
        found[words[0]] = slabs_in_all * pages_per_slab * os.sysconf("SC_PAGE_SIZE") // 1024
    return found


def read_slabs() -> dict[str, int]:
    """Return the caches of the kernel; none where only root may read them."""
    try:
        return slabs((PROC / "slabinfo").read_text())
    except PermissionError:
        return {}


def available_kib() -> int:
    """Return MemAvailable."""
    return fields((PROC / "meminfo").read_text())["MemAvailable"]


def machine_seconds() -> float:
    """Return the CPU time of the whole machine so far, in all but idle."""
    words = (PROC / "stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _wait, interrupts, soft = map(int, words[1:8])
    return (user + nice + system + interrupts + soft) / _TICKS


class LeastAvailable:
    """The least MemAvailable within a ``with`` block, in KiB, looked at ten times a second."""

    def __enter__(self) -> LeastAvailable:
        self.kib = available_kib()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.kib = min(self.kib, available_kib())


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """So far."""
        return round(time.monotonic() - self._begun, 2)
