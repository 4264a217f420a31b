"""One row: connect, rest, ask, restart, drain; what each took."""

from __future__ import annotations

import dataclasses
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import processes
from . import readings
from .crowd import Count, Crowd, Holder
from .plan import Plan
from .readings import LeastAvailable, Stopwatch
from .service import Service, running

ASKED = 100
"""Connections that are asked, of all"""
_ASKER_SOURCE = "127.2.0.1"
WARM_PER_WORKER = 20
"""Connections that each worker has had before its base is read: the first cost it something once."""
_STEPS = 50
_LEAST_STEP = 2_000
_EXPECTED_KIB = 14
"""What a connection takes at most: here, at its client and in the kernel"""
_LEAST_PER_SECOND = 100
"""Connections; when fewer are added, the cores are busy with the pings of those that are there."""
_LOOK_SECONDS = 1.0
_BACK_SECONDS = 600.0
_SHOWN_LINES = 5


@dataclass(frozen=True)
class How:
    """How to measure.

    Attributes:
        program: The client.
        folder: An empty one for the service's files.
        floor_kib: No connections are added when less is available.
        seconds: Of rest in which CPU time is measured; also of each kind of question.
        settle: Seconds before.
        ping_interval: Seconds, the option ``ping-interval``.
    """

    program: Path
    folder: Path
    floor_kib: int
    seconds: float
    settle: float
    ping_interval: float


def measure(name: str, plan: Plan, how: How) -> dict[str, Any]:
    """Measure one row; its fields are those that ``report`` prints."""
    with ExitStack() as stack:
        service = stack.enter_context(running(how.folder, plan, how.ping_interval))
        crowd = stack.enter_context(Crowd(how.program, service.port, plan.sources()))
        asker = Holder(how.program, service.port, _ASKER_SOURCE)
        stack.callback(asker.leave)
        found = _Row(plan, how, service, crowd, asker).measure()
    return {"name": name, **dataclasses.asdict(plan), **found}


class _Row:
    def __init__(self, plan: Plan, how: How, service: Service, crowd: Crowd, asker: Holder) -> None:
        self._plan, self._how = plan, how
        self._service, self._crowd, self._asker = service, crowd, asker

    def measure(self) -> dict[str, Any]:
        plan = self._plan
        asked = min(ASKED, plan.connections)
        self._asker.ask(f"open {asked}")
        warm = min(WARM_PER_WORKER * plan.workers, plan.connections - asked)
        self._crowd.open(plan.shares(warm))
        time.sleep(self._how.settle)
        base, slabs = self._read(), readings.read_slabs()
        found: dict[str, Any] = {"base": dataclasses.asdict(base)}
        found |= self._connect(warm, plan.connections - asked)
        time.sleep(self._how.settle)
        count = self._count()
        reached = found["reached"] = count.open
        found["lost"] = dict(count.codes)
        _say(f"{reached:,} connections in {found['connect_seconds']:.0f} s: {found['stopped']}")
        full = self._read()
        found["full"] = dataclasses.asdict(full)
        found["added"] = reached - warm - asked
        found["slabs"] = _grown(slabs, readings.read_slabs())
        found["rest"] = self._rest(reached)
        _say(f"rest: {found['rest']}")
        found["ping"] = self._asker.ask(f"ping {self._how.seconds:g}")
        found["echo"] = self._asker.ask(f"echo {self._how.seconds:g}")
        _say(f"ping: {found['ping']}; echo: {found['echo']}")
        found["restart"] = self._restart(reached)
        _say(f"restart: {found['restart']}")
        found["drain"] = self._drain()
        _say(f"drain: {found['drain']}")
        logged = self._service.warnings()
        found["logged"] = {"lines": len(logged), "first": logged[:_SHOWN_LINES]}
        return found

    def _connect(self, number: int, most: int) -> dict[str, Any]:
        """Add connections until there are enough, or until something stands in the way."""
        watch, trouble = Stopwatch(), ""
        step = max(_LEAST_STEP, most // _STEPS)
        while number < most and not trouble:
            wanted = min(most, number + step)
            left = readings.available_kib() - (wanted - number) * _EXPECTED_KIB
            if left < self._how.floor_kib:
                gib = self._how.floor_kib / 2**20
                trouble = f"less than {gib:g} GiB of memory would have been available"
            else:
                before, this_step = number, Stopwatch()
                number, trouble = self._crowd.open(self._plan.shares(wanted))
                if number - before < _LEAST_PER_SECOND * this_step.seconds and number < most:
                    trouble = trouble or (
                        f"the cores were busy, with the pings of those that were there: the last"
                        f" {number - before:,} took {this_step.seconds:.0f} s"
                    )
        return {
            "stopped": trouble or "all were there",
            "connect_seconds": watch.seconds,
        }

    def _rest(self, reached: int) -> dict[str, Any]:
        """Measure the CPU time of a window in which nothing but keepalive happens."""
        self._count()
        watch = Stopwatch()
        ours, clients = processes.cpu_ns(self._service.pids), processes.cpu_ns(self._crowd.pids)
        machine = readings.machine_seconds()
        time.sleep(self._how.seconds)
        seconds = watch.seconds
        ours, clients = (
            processes.cpu_ns(self._service.pids) - ours,
            processes.cpu_ns(self._crowd.pids) - clients,
        )
        machine = readings.machine_seconds() - machine
        count = self._count()
        return {
            "seconds": seconds,
            "cores": round(ours / seconds / 1e9, 3),
            "client_cores": round(clients / seconds / 1e9, 3),
            "machine_cores": round(machine / seconds, 3),
            "pings_per_second": round(count.pings / seconds),
            "pings_due": round(reached / self._how.ping_interval),
            "lost": dict(count.codes),
        }

    def _restart(self, reached: int) -> dict[str, Any]:
        """Replace all workers, while each client that is closed comes back."""
        self._come_back(wanted=True)
        self._count()
        processes_before = len(self._service.pids)
        total, watch, verb_seconds = Count(), Stopwatch(), 0.0
        verb = self._service.restart()
        with LeastAvailable() as least:
            while True:
                time.sleep(_LOOK_SECONDS)
                count = self._count()
                total.merge(count)
                if not verb_seconds and verb.poll() is not None:
                    verb_seconds = watch.seconds
                if watch.seconds > _BACK_SECONDS + self._service.deadline:
                    break
                old_are_gone = len(self._service.pids) <= processes_before
                if verb_seconds and old_are_gone and count.open >= reached:
                    break
        return {
            "verb_seconds": verb_seconds,
            "verb_code": verb.wait(),
            "seconds": watch.seconds,
            "codes": dict(total.codes),
            "refused": total.refused,
            "opened": total.opened,
            "open": count.open,
            "least_available": least.kib,
            "after": dataclasses.asdict(self._read()),
        }

    def _come_back(self, *, wanted: bool) -> None:
        self._crowd.come_back(wanted=wanted)
        self._asker.ask(f"again {wanted:d}")

    def _drain(self) -> dict[str, Any]:
        self._come_back(wanted=False)
        self._count()
        watch = Stopwatch()
        code = self._service.stop()
        return {"seconds": watch.seconds, "exit_code": code, "codes": dict(self._count().codes)}

    def _count(self) -> Count:
        count = self._crowd.count()
        count.add(self._asker.ask("count"))
        return count

    def _read(self) -> readings.Reading:
        return readings.read(self._service.pids, [*self._crowd.pids, self._asker.pid])


def _grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """Return the kernel's caches that have grown, the largest first, in KiB."""
    grown = {name: kib - before.get(name, 0) for name, kib in after.items()}
    return dict(sorted(((n, k) for n, k in grown.items() if k > 0), key=lambda item: -item[1])[:12])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
