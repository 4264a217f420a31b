"""Log files opened again in every process, for the process that has asked the supervisor for it.

Rules. As with lists of connections, the reports do not pass through the supervisor: each process gets a
copy of the other end of a socket of ours, and all are done when the last copy is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from mpchat.ipc.orders import OrderGiver
from mpchat.linux import descriptors as fds
from mpchat.linux import system

_SECONDS = 5.0
"""Seconds for all processes; one that takes longer is busy or stuck, as status shows."""
_PACKET = 64 * 1024


@dataclass
class Reopened:
    """What the processes have said.

    Attributes:
        pids: Those that write to the new files.
        trouble: A sentence for each file that a process could not open, with the process's name.
        silent: The names of the processes that have not said anything.
    """

    pids: list[int] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


async def reopen_logs(orders: OrderGiver, seconds: float = _SECONDS) -> Reopened:
    """Have every process open its log files again; return when all have, or after the time.

    Raises:
        ControlError: The supervisor cannot open its own.
        OSError: The system refuses the socket.
    """
    near, far = system.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reports: dict[int, list[str]] = {}
    with near:
        system.setblocking(near, False)
        with far:
            # No process may have to wait for us.
            system.setblocking(far, False)
            done = await orders.give("reopen", far.fileno())
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                while packet := await loop.sock_recv(near, _PACKET):
                    report = json.loads(packet)
                    reports[report["pid"]] = report["trouble"]
        except TimeoutError:
            pass  # The silent ones are named below.
    found = Reopened()
    names = {int(pid): name for pid, name in done.answer.items()}
    for pid, trouble in reports.items():
        found.trouble += [f"{names.get(pid, pid)}: {text}" for text in trouble]
        if not trouble:
            found.pids.append(pid)
    found.silent = [f"{name} pid {pid}" for pid, name in names.items() if pid not in reports]
    return found


def report_reopened(descriptors: Sequence[int], trouble: Sequence[str]) -> None:
    """Tell whoever waits that this process has opened its files again; the descriptors are closed.

    ``trouble`` has a sentence for each file that it could not open.
    """
    for descriptor in descriptors:
        try:
            system.write(descriptor, json.dumps({"pid": os.getpid(), "trouble": trouble}).encode())
        except OSError:
            # Whoever waits has left, or names this process as silent.
            continue
        finally:
            fds.close(descriptor)
