"""What has changed from one status of a service to the next, in sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from mpchat.cli.quantities import count


def changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Return a sentence for each change that an operator wants to know of."""
    if before["pid"] != after["pid"]:
        yield f"the service was started anew: supervisor pid {before['pid']} -> {after['pid']}"
        return
    if before["generation"] != after["generation"]:
        yield f"dynamic config generation {before['generation']} -> {after['generation']}"
    if more := after["faults"] - before["faults"]:
        yield f"{count(more, 'fault')} of the supervisor: see its log"
    slots = _slots(before), _slots(after)
    for slot in sorted({*slots[0], *slots[1]}):
        if sentence := _of_slot(slots[0].get(slot, []), slots[1].get(slot, [])):
            yield f"slot {slot}: {sentence}"
    if before["broker"] is not None and after["broker"] is not None:
        yield from _of_broker(before["broker"], after["broker"])


def _slots(answer: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    found = defaultdict(list)
    for worker in answer["workers"]:
        found[worker["slot"]].append(worker)
    return found


def _of_slot(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    """Return what has changed, empty if nothing has."""
    # A worker that is not forked yet has the pid 0.
    old = {worker["pid"]: worker["state"] for worker in before if worker.get("pid")}
    new = {worker["pid"]: worker["state"] for worker in after if worker.get("pid")}
    parts = [f"pid {pid} has ended" for pid in old if pid not in new]
    parts += [f"pid {pid} is {state}" for pid, state in new.items() if old.get(pid) != state]
    without = [worker["state"] for worker in after if "pid" not in worker]
    if without and without != [worker["state"] for worker in before]:
        parts.append("scaled away" if without == ["away"] else "no worker")
    helper = after[0]["helper"] if after else None
    if helper is not None and (not before or helper != before[0]["helper"]):
        parts.append(f"slot {helper.rpartition('/')[2]} accepts its clients")
    return ", ".join(parts)


def _of_broker(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    parts = []
    old, new = before["pid"], after["pid"]
    if old is not None and old != new:
        parts.append(f"pid {old} has ended")
    if (old, before["state"]) != (new, after["state"]):
        parts.append(f"pid {new} is {after['state']}" if new is not None else after["state"])
    was_lost, is_lost = (one["stream_lost_seconds"] is not None for one in (before, after))
    if was_lost != is_lost:
        parts.append("its stream does not answer" if is_lost else "its stream answers again")
    if parts:
        yield f"broker: {', '.join(parts)}"
