"""`make pressure`: limits of the system are reached at random moments of a service's life.

And strace lets calls fail that the seam does not know of. Needs root, control groups and strace.

    python -m tests.injection.pressure [--lives N] [--seed N]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
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

import yaml

from mpchat.errors import ExitCode
from mpchat.testsuite.service import Service, wait_until
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
_HISTORY = 128 * 1024 * 1024
"""Bytes of the rooms' history: the processes alone fit into as much."""
_START_SECONDS = 30.0


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


def history_in_a_group(folder: Path) -> Outcome:
    """The rooms' history is refused where the group's limit is below it, and else never costs a process.

    Its pages are the group's from the start on: when it fills up, and begins again from its beginning,
    nothing grows.
    """
    command = [sys.executable, "-m", "mpchat", "serve", "-c", str(_config_with_rooms(folder))]
    with Group(f"mpchat-{folder.name}") as group:
        group.limit_memory(_HISTORY)
        refused = Service([*group.wrapper, *command], folder)
        problems = _what_is_wrong_with_refusal(refused)
        group.limit_memory(None)
        service = Service([*group.wrapper, *command], folder)
        try:
            service.wait_ready()
            group.limit_memory(group.memory() + _HISTORY // 2)
            before = service.children()
            _publish_twice_its_size(service.port)
            if service.children() != before:
                problems.append(f"{before} became {service.children()}")
        finally:
            service.close()
        return Outcome(problems, 1)


def _what_is_wrong_with_refusal(service: Service) -> list[str]:
    try:
        code = service.process.wait(_START_SECONDS)
    finally:
        service.close()
    said = service.stderr()
    needed = f"the rooms' history needs {_HISTORY // 1024**2}.0 MiB"
    if code == ExitCode.OS and needed in said and "the control group" in said:
        return []
    return [f"a group of the history's size: left with {code}, and said: {said}"]


def _config_with_rooms(folder: Path) -> Path:
    components = {
        "server": {"listener": {"port": 0}},
        "logging": {"loggers": {"default": {"file_path": "@stderr", "level": "warning"}}},
        "rooms": {"history-memory": _HISTORY},
        "handler-rooms": {"path": "/rooms/{room}"},
    }
    pools = {"main": {"worker_threads": 2}}
    service = {
        "task_processors": pools,
        "default_task_processor": "main",
        "components": components,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"components_manager": service}))
    return path


def _publish_twice_its_size(port: int) -> None:
    connection = http.client.HTTPConnection("localhost", port, timeout=_START_SECONDS)
    body, headers = b"x" * 256 * 1024, {"Content-Type": "application/octet-stream"}
    for _ in range(2 * _HISTORY // len(body)):
        connection.request("POST", "/rooms/a", body, headers)
        with connection.getresponse() as response:
            if response.status != 200:
                raise RuntimeError(f"a publish was answered with {response.status}")
            response.read()
    connection.close()


KINDS = (few_processes, few_descriptors, little_memory, calls_fail, history_in_a_group)


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
