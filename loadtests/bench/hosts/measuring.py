"""Samples: of messages, of a broker that is killed with its rooms, of nats-py by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from .. import processes
from ..load import Load, LoadFailed
from .engines import BROKER, Engine, Hosts
from .network import Network
from .rows import Row

WARM_UP_SECONDS = 0.3
SETTLE_SECONDS = 1.5
"""Until other hosts have heard of who is where, and a check has passed"""
LONGEST_SECONDS = 300.0
"""For what many rooms need on a busy machine"""
NATS_PY = Path(__file__).with_name("nats_py.py")

Sample = dict[str, Any]


def room_samples(
    row: Row, targets: list[Hosts], program: Path, rounds: int, seconds: float
) -> Iterator[Sample]:
    """Measure a load; all engines have their members all the time, and take turns.

    One that loses a message or a connection is overloaded: it is not in ``targets`` any more.
    """
    with ExitStack() as stack:
        loads = {}
        for target in targets:
            words = [str(part) for end in target.ends for part in end]
            command = [str(program), *row.arguments(), *words]
            # No core of its own: there are more processes than cores.
            own = stack.enter_context(ExitStack())
            load = own.enter_context(Load(target.name, command, _cores()))
            load.wait_connected()
            loads[target.name] = load, own
        for number in range(rounds):
            for target in list(targets):
                load, own = loads[target.name]
                try:
                    yield _sample(row, target, load, number, seconds)
                except LoadFailed as error:
                    # Its client has left, and said why.
                    own.pop_all()
                    targets.remove(target)
                    yield {"row": row.name, "engine": target.name, "failed": str(error)}


def _cores() -> str:
    return ",".join(map(str, sorted(os.sched_getaffinity(0))))


def _sample(row: Row, target: Hosts, load: Load, number: int, seconds: float) -> Sample:
    load.run(WARM_UP_SECONDS)
    before, took, sent = target.cpu(), *target.messages()
    outcome = load.run(seconds)
    after, took_then, sent_then = target.cpu(), *target.messages()
    return {
        "row": row.name,
        "engine": target.name,
        "round": number,
        "per_second": round(outcome.done / outcome.seconds),
        "p50_us": outcome.p50_us,
        "p99_us": outcome.p99_us,
        "client_us": outcome.client_cpu_us,
        "nats_in": round((took_then - took) / outcome.done, 2),
        "nats_out": round((sent_then - sent) / outcome.done, 2),
        "cpu_us": {
            part: round((after[part] - before[part]) / 1000 / outcome.done, 2) for part in after
        },
    }


class _Crowd:
    """A connection to the worker of a host, which has it be in many rooms."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def ask(self, order: str) -> None:
        self._connection.send(order)
        answer = self._connection.recv(LONGEST_SECONDS)
        if answer != order:
            raise LoadFailed(f"{order!r} was answered with {answer!r}")


def restart_sample(
    engine: Engine, network: Network, folder: Path, rooms: int, number: int, seconds: float
) -> Sample:
    """Kill the broker of a host whose worker is in so many rooms, as the other host's is."""
    with ExitStack() as stack:
        target = stack.enter_context(engine.start(network, folder))
        crowds = [
            _Crowd(stack.enter_context(connect(f"ws://{host}:{port}/many", ping_interval=None)))
            for host, port in target.ends[: len(target.programs)]
        ]
        time.sleep(SETTLE_SECONDS)
        first = target.programs[0]
        (broker,) = first.pids(BROKER)
        empty = _rss_kib(broker)
        for crowd in crowds:
            crowd.ask(f"join {rooms}")
        # Of an empty stream nothing is asked.
        crowds[0].ask("say")
        time.sleep(SETTLE_SECONDS)
        full = _rss_kib(broker)
        cpu, (took, _) = target.cpu(), target.messages()
        time.sleep(seconds)
        cpu_then, (took_then, _) = target.cpu(), target.messages()
        killed = time.monotonic()
        os.kill(broker, signal.SIGKILL)
        crowds[0].ask("live")
        live = time.monotonic() - killed
        restart_cpu, (took_last, _) = target.cpu(), target.messages()
        if first.pids(BROKER) == [broker]:
            raise LoadFailed(f"{target.name}: the broker was killed, and is there")
    return {
        "engine": target.name,
        "rooms": rooms,
        "round": number,
        "live_s": round(live, 3),
        "room_kib": round((full - empty) / rooms, 3),
        "empty_mib": round(empty / 1024, 1),
        "rest_us": {part: round((cpu_then[part] - cpu[part]) / 1000 / seconds, 1) for part in cpu},
        "rest_nats_in": round((took_then - took) / seconds, 1),
        "restart_between_ms": round((restart_cpu["between"] - cpu_then["between"]) / 1e6, 1),
        "restart_nats_in": took_last - took_then,
    }


def _rss_kib(pid: int) -> int:
    lines = (processes.PROC / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def nats_py_sample(url: str, rate: int, number: int, seconds: float) -> Sample:
    """Measure nats-py between two processes."""
    command = [sys.executable, str(NATS_PY), url, str(rate), str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: Sample = json.loads(done.stdout)
    return {"rate": rate, "round": number, **found}
