"""`make pressure`: limits of the system are reached at random moments of a service's life.

And strace lets calls fail that the seam does not know of. Needs root, control groups and strace.

    python -m tests.injection.pressure [--lives N] [--seed N]
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mpchat.testsuite.service import wait_until
from tests.injection.cgroup import Group
from tests.injection.scenario import Life

_LASTS = (0.05, 0.3)
"""Seconds that a limit lasts, at random between these"""
_PAUSES = (0.3, 1.5)
"""Seconds between two of them: an order that is given again has to have a chance"""
_HEADROOM = 2 * 1024 * 1024
"""Bytes that may still be taken: less than a process that starts needs. With none at all the kernel would
go on to kill until only the supervisor is left, and then that."""
_CALLS: dict[str, tuple[str, ...]] = {
    "bind": ("EADDRINUSE",),
    "clone,clone3,fork,vfork": ("EAGAIN", "ENOMEM"),
    "connect": ("EAGAIN",),
    "dup": ("EMFILE",),
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


def few_processes(folder: Path) -> list[str]:
    """No process can be forked at random moments."""
    with Group(f"mpchat-{folder.name}") as group:
        life = Life(folder, {}, wrapper=group.wrapper)
        life.wait_up()
        with at_random(
            lambda: group.limit_processes(max(1, group.processes() - 1)),
            lambda: group.limit_processes(None),
        ):
            return life.run()


def little_memory(folder: Path) -> list[str]:
    """There is hardly more memory than is taken at random moments: the kernel kills somebody."""
    with Group(f"mpchat-{folder.name}") as group:
        life = Life(folder, {}, wrapper=group.wrapper)
        life.wait_up()
        with at_random(
            lambda: group.limit_memory(group.memory() + _HEADROOM), lambda: group.limit_memory(None)
        ):
            return life.run()


def few_descriptors(folder: Path) -> list[str]:
    """The supervisor can open nothing at random moments."""
    life = Life(folder, {})
    life.wait_up()
    pid = life.service.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)

    def limit(soft: int) -> None:
        # A service that has ended needs no limit.
        try:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, before[1]))
        except ProcessLookupError:
            return

    with at_random(lambda: limit(3), lambda: limit(before[0])):
        return life.run()


def calls_fail(folder: Path) -> list[str]:
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
        return life.run()
    finally:
        for strace in straces:
            strace.terminate()
            strace.wait()
        print(f"    {output.read_text().count('INJECTED')} calls have failed", flush=True)
        output.unlink()


KINDS = (few_processes, few_descriptors, little_memory, calls_fail)


def main() -> int:
    """Return 0 if every life went on to its end."""
    parser = argparse.ArgumentParser(prog="python -m tests.injection.pressure", description=__doc__)
    parser.add_argument("kinds", nargs="*", help=", ".join(kind.__name__ for kind in KINDS))
    parser.add_argument("--lives", type=int, default=10, help="of each kind")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    random.seed(options.seed)
    failed = 0
    for kind in KINDS:
        if options.kinds and kind.__name__ not in options.kinds:
            continue
        for number in range(options.lives):
            with tempfile.TemporaryDirectory(prefix="mpchat-pressure-") as name:
                begun = time.monotonic()
                problems = kind(Path(name))
                took = time.monotonic() - begun
                print(
                    f"{kind.__name__} {number + 1}: {problems or 'lived on'}, {took:.1f} s",
                    flush=True,
                )
                if problems:
                    failed += 1
                    log = (Path(name) / "stderr.log").read_text(errors="replace")
                    print("        " + "\n        ".join(log.splitlines()[-60:]), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
