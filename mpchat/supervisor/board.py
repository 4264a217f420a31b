"""What the supervisor shows of slots, workers and its other children on the scoreboard."""

from __future__ import annotations

from collections.abc import Mapping

from mpchat.scoreboard.scoreboard import ROWS, WORKER_STATES, Scoreboard
from mpchat.supervisor.adoption import Adoption
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.family import Family
from mpchat.supervisor.policy import Policy
from mpchat.supervisor.states import Worker


def show_slots(
    scoreboard: Scoreboard, policy: Policy, children: Mapping[int, Child], adoption: Adoption
) -> None:
    """Store the state, process and age of every worker, the restarts and the helper of every slot."""
    for index, slot in enumerate(policy.pool):
        scoreboard.set_slot(index, "restarts", max(0, slot.spawned - 1))
        scoreboard.set_slot(index, "wanted", slot.wanted)
        helper = adoption.helper_of(index)
        scoreboard.set_slot(index, "helper", 0 if helper is None else helper.slot + 1)
        by_row = {worker.row: worker for worker in slot.workers()}
        for row in range(ROWS):
            _show_worker(scoreboard, index, row, by_row.get(row), children)


def show_others(scoreboard: Scoreboard, family: Family) -> None:
    """Store the processes of template and monitor, 0 for one that there is not."""
    for name, role in (("template_pid", Role.TEMPLATE), ("monitor_pid", Role.MONITOR)):
        child = family.of(role)
        scoreboard.set_service(name, child.pid if child is not None else 0)


def _show_worker(
    scoreboard: Scoreboard,
    slot: int,
    row: int,
    worker: Worker | None,
    children: Mapping[int, Child],
) -> None:
    state, pid, since = 0, 0, 0
    if worker is not None:
        state = WORKER_STATES.index(worker.state.value)
        child = children.get(worker.number)
        pid = child.pid if child is not None else 0
        since = int(worker.born * 1000)
    scoreboard.set_slot(slot, f"state_{row}", state)
    scoreboard.set_slot(slot, f"pid_{row}", pid)
    scoreboard.set_slot(slot, f"since_{row}", since)
