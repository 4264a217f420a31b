"""`make pressure`: limits of the system are reached at random moments of a service's life.

And strace lets calls fail that the seam does not know of. Needs root, control groups and strace.

    python -m tests.injection.pressure [--lives N] [--seed N]
"""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mpchat.testsuite.service import wait_until
from tests.injection.cgroup import Group
from tests.injection.scenario import Life

_LASTS = (0.1, 0.4)
"""Seconds that a limit lasts, at random between these"""
_PAUSES = (0.2, 1.0)
"""Seconds between two of them: an order that is given again has to have a chance"""
_HEADROOM = 2 * 1024 * 1024
"""Bytes that may still be taken: less than a process that starts needs. With none at all the kernel would
go on to kill until only the supervisor is left, and then that."""
_CALLS: dict[str, tuple[str, ...]] = {
    "bind": ("EADDRINUSE",),
    "clone,clone3,fork,vfork": ("EAGAIN", "ENOMEM"),
    "connect": ("EAGAIN",),
    "dup": ("EMFILE",),
    "fallocate": ("ENOSPC", "ENOMEM"),
    "fcntl": ("EMFILE",),
    "ftruncate": ("EINTR",),
    "getsockname": ("ENOBUFS",),
    "ioctl": ("EIO",),
    "kill": ("EPERM",),
    "listen": ("EADDRINUSE",),
    "lseek": ("ESPIPE",),
    "memfd_create": ("EMFILE", "ENFILE", "ENOMEM"),
    "mmap": ("ENOMEM",),
    "newfstatat,fstat,stat": ("ENOMEM", "EACCES"),
    "openat": ("EMFILE", "ENFILE", "ENOMEM"),
    "pidfd_open": ("EMFILE", "ENOMEM"),
    "poll": ("ENOMEM",),
    "pread64": ("EIO",),
    "read": ("EIO",),
    "recvmsg": ("ENOMEM", "EAGAIN"),
    "sendmsg": ("ENOMEM", "ENOBUFS", "ETOOMANYREFS", "EAGAIN"),
    "sendto": ("EAGAIN", "ENOBUFS"),
    "setsockopt": ("ENOMEM",),
    "socket": ("EMFILE", "ENFILE", "ENOBUFS"),
    "socketpair": ("EMFILE", "ENFILE"),
    "wait4": ("EINVAL",),
    "waitid": ("EINVAL",),
    "write": ("EIO", "EAGAIN"),
}
"""By the kernel's names; close is not among them, since strace would leave the descriptor open."""


_MAX_LIVES = 20
"""The moments are random: in a few lives they may all miss, in so many only if a limit has no effect."""


@contextmanager
def at_random(begin: Callable[[], None], end: Callable[[], None]) -> Iterator[list[float]]:
    """Begin and end something again and again while the block runs; the list has the moments."""
    over = threading.Event()
    moments: list[float] = []

    def trouble() -> None:
        while not over.wait(random.uniform(*_PAUSES)):
            moments.append(time.monotonic())
            begin()
            over.wait(random.uniform(*_LASTS))
            end()

    thread = threading.Thread(target=trouble)
    thread.start()
    try:
        yield moments
    finally:
        over.set()
        thread.join()
        end()


@dataclass(frozen=True)
class Outcome:
    """What did not hold in a life, and how often something was refused in it."""

    problems: list[str]
    refusals: int


def few_processes(folder: Path) -> Outcome:
    """No process can be forked at random moments."""
    with Group(f"mpchat-{folder.name}") as group:
        life = Life(folder, {}, wrapper=group.wrapper)
        life.wait_up()
        with at_random(
            lambda: group.limit_processes(max(1, group.processes() - 1)),
            lambda: group.limit_processes(None),
        ):
            problems = life.run()
        return Outcome(problems, group.refused_processes())


def little_memory(folder: Path) -> Outcome:
    """There is hardly more memory than is taken at random moments: the kernel kills somebody."""
    with Group(f"mpchat-{folder.name}") as group:
        life = Life(folder, {}, wrapper=group.wrapper)
        life.wait_up()
        with at_random(
            lambda: group.limit_memory(group.memory() + _HEADROOM),
            lambda: group.limit_memory(None),
        ):
            problems = life.run()
        return Outcome(problems, group.refused_memory())


def few_descriptors(folder: Path) -> Outcome:
    """The supervisor can open nothing at random moments."""
    life = Life(folder, {})
    life.wait_up()
    pid = life.service.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)

    def limit(soft: int) -> None:
        # A service that has ended needs no limit.
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, before[1]))

    with at_random(lambda: limit(3), lambda: limit(before[0])):
        problems = life.run()
    log = life.service.stderr()
    return Outcome(problems, log.count("Too many open files") + log.count("descriptor left"))


def calls_fail(folder: Path) -> Outcome:
    """In each step one call of the supervisor fails, wherever it comes from (strace -e inject)."""
    straces: list[subprocess.Popen[bytes]] = []
    output = folder.with_suffix(".strace")
    output.touch()

    def before_step(pid: int) -> None:
        for strace in straces:
            strace.terminate()
            strace.wait()
        straces.clear()
        names = random.choice(list(_CALLS))
        error = random.choice(_CALLS[names])
        inject = f"inject={names}:error={error}:when={random.randint(1, 3)}"
        print(f"    {inject}", flush=True)
        trace = ["strace", "-qq", "-o", str(output), "-A", "-p", str(pid)]
        straces.append(subprocess.Popen([*trace, "-e", f"trace={names}", "-e", inject]))
        status = Path(f"/proc/{pid}/status")
        wait_until(lambda: "TracerPid:\t0" not in status.read_text(), "tracer")

    life = Life(folder, {}, before_step=before_step)
    try:
        problems = life.run()
    finally:
        for strace in straces:
            strace.terminate()
            strace.wait()
    failed = output.read_text().count("INJECTED")
    output.unlink()
    return Outcome(problems, failed)


KINDS = (few_processes, few_descriptors, little_memory, calls_fail)


def main() -> int:
    """Return 0 if every life went on to its end."""
    parser = argparse.ArgumentParser(prog="python -m tests.injection.pressure", description=__doc__)
    parser.add_argument("kinds", nargs="*", help=", ".join(kind.__name__ for kind in KINDS))
    parser.add_argument(
        "--lives",
        type=int,
        default=10,
        help=f"of each kind; more, up to {_MAX_LIVES}, until something was refused",
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    random.seed(options.seed)
    failed = False
    for kind in KINDS:
        if options.kinds and kind.__name__ not in options.kinds:
            continue
        refusals = number = 0
        while number < options.lives or (not refusals and number < _MAX_LIVES):
            number += 1
            with tempfile.TemporaryDirectory(prefix="mpchat-pressure-") as name:
                outcome = kind(Path(name))
                refusals += outcome.refusals
                said = outcome.problems or "lived on"
                print(f"{kind.__name__} {number}: {outcome.refusals} refusals, {said}", flush=True)
                if outcome.problems:
                    failed = True
                    log = (Path(name) / "stderr.log").read_text(errors="replace")
                    print("        " + "\n        ".join(log.splitlines()[-60:]), flush=True)
        if not refusals:
            failed = True
            print(f"{kind.__name__}: nothing was refused in {number} lives", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
