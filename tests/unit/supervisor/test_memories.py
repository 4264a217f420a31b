"""The memories of authors' metrics over restarts, ends of workers and ways back."""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.errors import ExitCode, StartError
from mpchat.linux import system
from mpchat.metrics.totals import families_of
from mpchat.scoreboard.scoreboard import ROWS, Scoreboard
from mpchat.supervisor.memories import Memories
from tests.kit.descriptors import descriptors_open

SLOTS = 2


def metric(name: str, kind: str = "counter", *values: str) -> dict[str, Any]:
    labels = {"kind": list(values)} if values else {}
    return {
        "name": name,
        "kind": kind,
        "unit": "",
        "help": "Numbers",
        "labels": labels,
        "bounds": [],
    }


@dataclass
class Rig:
    """Memories of a service with workers that do nothing but count."""

    metrics: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)
    workers: dict[int, Any] = field(default_factory=dict)
    editions: list[int] = field(default_factory=lambda: [1])
    """The current one last; before it one that there is a way back to"""
    made: int = 1

    def __post_init__(self) -> None:
        self.board = Scoreboard.create()
        self.board.set_service("slots", SLOTS)
        log: Any = SimpleNamespace(warning=self.warnings.append)
        self.memories = Memories(log, self.board, self.workers)
        self.memories.make(1, self.metrics, 1)

    @property
    def current(self) -> int:
        return self.editions[-1]

    def restart(self, metrics: list[dict[str, Any]]) -> None:
        """Make another edition the current one, as soon as slots have moved to the present one."""
        del self.editions[:-1]
        self.made += 1
        self.memories.make(self.made, metrics, self.current)
        self.editions.append(self.made)

    def revert(self) -> None:
        if len(self.editions) > 1:
            self.editions.pop()

    def start_worker(self, slot: int, row: int) -> None:
        if not any((w.slot, w.row) == (slot, row) for w in self.workers.values()):
            worker = SimpleNamespace(slot=slot, row=row, edition=self.current)
            self.workers[max(self.workers, default=0) + 1] = worker

    def end_worker(self, slot: int, row: int) -> None:
        for number, worker in [*self.workers.items()]:
            if (worker.slot, worker.row) == (slot, row):
                del self.workers[number]
                self.memories.ended(worker)

    def values(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for family in families_of(self.memories.counting(self.current), SLOTS):
            for sample in family.samples:
                assert isinstance(sample.value, float | int)
                label = "/".join(value for _name, value in sample.labels)
                found[f"{family.kind} {family.name} {label}"] += int(sample.value)
        return found

    def close(self) -> None:
        self.memories.close()
        self.board.close()


PLACES = st.tuples(st.integers(0, SLOTS - 1), st.integers(0, ROWS - 1))
KIND = st.lists(st.sampled_from(["buy", "sell", "rent"]), min_size=1, unique=True)
METRICS = st.tuples(
    st.builds(lambda values: metric("orders", "counter", *values), KIND),
    st.builds(lambda values: metric("open", "gauge", *values), KIND),
    st.builds(lambda: metric("plain")),
    st.builds(lambda: metric("other")),
).flatmap(lambda every: st.lists(st.sampled_from(every), unique_by=lambda one: one["name"]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("restart"), METRICS),
        st.tuples(st.just("revert"), st.none()),
        st.tuples(st.just("start"), PLACES),
        st.tuples(st.just("end"), PLACES),
        st.tuples(st.just("count"), st.integers(1, 9)),
        st.tuples(st.just("count"), st.integers(1, 9)),
    ),
    max_size=30,
)


@settings(max_examples=150)
@given(METRICS, STEPS)
def test_sums_are_what_was_counted_whatever_happens(
    metrics: list[dict[str, Any]], steps: list[tuple[str, Any]]
) -> None:
    before = descriptors_open()
    rig = Rig(metrics)
    totals: Counter[str] = Counter()
    gauges: dict[tuple[int, int], Counter[str]] = {}
    for step, how in [("start", (0, 0)), *steps]:
        match step:
            case "restart":
                rig.restart(how)
            case "revert":
                rig.revert()
            case "start":
                rig.start_worker(*how)
            case "end":
                rig.end_worker(*how)
                gauges.pop(how, None)
            case "count":
                for worker in rig.workers.values():
                    memory = rig.memories.of(worker.edition)
                    places = [
                        (entry, "/".join(value for _name, value in labels))
                        for entry in memory.declared
                        for labels in entry.combinations
                    ]
                    own = gauges.setdefault((worker.slot, worker.row), Counter())
                    with memory.area(worker.slot, worker.row) as area:
                        for place, (entry, label) in enumerate(places):
                            area[place] += how
                            which = own if entry.kind == "gauge" else totals
                            which[f"{entry.kind} {entry.name} {label}"] += how
        expected = totals + sum(gauges.values(), Counter())
        assert +rig.values() == expected, step
        if step == "restart":
            written = {worker.edition for worker in rig.workers.values()}
            assert len(rig.memories.counting(rig.current)) == len(written | {*rig.editions})
    rig.close()
    assert descriptors_open() == before


def test_what_begins_anew_is_told() -> None:
    rig = Rig([metric("orders"), metric("open", "gauge")])
    rig.restart([metric("orders", "gauge"), metric("open", "gauge", "a")])
    assert rig.warnings == [
        f"the metric {name} is of another kind now, or has other labels or bounds: it begins anew"
        for name in ("orders", "open")
    ]
    rig.close()


def test_metrics_that_cannot_be_are_refused() -> None:
    rig = Rig([])
    wrong: list[Any] = [[metric("a b")], [metric("a"), metric("a")], [{}], {}]
    for given_ in wrong:
        with pytest.raises(
            StartError, match="the template names metrics that cannot be: "
        ) as raised:
            rig.memories.make(2, given_, 1)
        assert raised.value.exit_code == ExitCode.SOFTWARE
    assert len(rig.memories.counting(1)) == 1
    rig.close()


def test_a_memory_that_the_system_refuses_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: Any) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    rig = Rig([metric("orders")])
    rig.restart([metric("orders")])
    counting, before = rig.memories.counting(2), descriptors_open()
    monkeypatch.setattr(system, "ftruncate", refuse)
    with pytest.raises(StartError, match=r"refuses memory for .*: Cannot allocate") as raised:
        rig.memories.make(3, [metric("orders")], 2)
    assert raised.value.exit_code == ExitCode.OS
    assert rig.memories.counting(2) == counting
    assert descriptors_open() == before
    rig.close()
