"""The clients: members of rooms, whose connections go to the proxy's address.

Rules. They are those of the tortures (tests/chaos/members.py): they come back with their positions,
repeat what was not acknowledged, and lose their connections by themselves now and then, so that somebody
connects at any time. They answer pings, and send none: a host from which nothing has come for ``SILENCE``
is dropped. All members of one room are in the same process, which knows when they have seen everything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tests.chaos import members
from tests.chaos.box import Crowd
from tests.chaos.sightings import Notes
from tests.cluster.proxy import PORT
from tests.cluster.topology import Machine

SILENCE = 12.0
"""Seconds without a byte after which a client takes its connection for dead; hosts ping every four. By
then NATS has chosen another leader, which takes up to nine."""
PROCESSES = 3
_IN_A_ROOM = 10
_OPENING = 150.0
"""Clients that connect in a second, at the beginning."""
_MESSAGES = 0.1
"""That a client says in a second."""
_MOST_MESSAGES = 50.0
"""That all of them say in a second: each costs three servers, and ten members."""
_CUT = 20.0
"""Mean seconds of a connection, for each hundred clients of a process."""


@contextlib.contextmanager
def talking(
    machine: Machine, address: str, clients: int, first: int, unequal: float
) -> Iterator[Notes]:
    """Have so many clients talk while the block runs; their notes are there afterwards.

    ``first`` is the number of the first one: numbers are names, in rooms that remember ids. Each waits
    up to ``unequal`` seconds longer than SILENCE, or all clients of a lost host would come back at once.
    """
    each = clients // PROCESSES
    plans = [_plan(address, each, first + number * each, unequal) for number in range(PROCESSES)]
    crowds: list[Crowd] = []
    notes = Notes()
    try:
        for plan in plans:
            argument = members.Plan(**plan).to_argument()
            crowds.append(machine.call(partial(Crowd, "members", argument)))
        yield notes
        with ThreadPoolExecutor(len(crowds)) as threads:
            for lines in threads.map(Crowd.finish, crowds):
                notes.add(lines)
    finally:
        for crowd in crowds:
            crowd.close()


def _plan(address: str, count: int, first: int, unequal: float) -> dict[str, Any]:
    return {
        "host": address,
        "port": PORT,
        "first": first,
        "members": count,
        "rooms": max(1, count // _IN_A_ROOM),
        "opening": _OPENING / PROCESSES,
        "rate": min(_MESSAGES * count, _MOST_MESSAGES / PROCESSES),
        "cut": max(1.0, count / 100) * _CUT,
        "doubt": 0.05,
        "patience": 20.0,
        "silence": SILENCE,
        "unequal": unequal,
    }
