"""The memory of authors' metrics, and sums over several."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.linux import system
from mpchat.metrics.area import Area
from mpchat.metrics.directory import Entry
from mpchat.metrics.families import Distribution, Family
from mpchat.metrics.memory import Memory
from mpchat.metrics.totals import MAX_CARRIED, add_up, carry, families_of, find_changed
from mpchat.scoreboard.scoreboard import ROWS, SLOTS
from tests.kit.descriptors import descriptors_open

KINDS = (("kind", ("buy", "sell")),)
ORDERS = Entry("orders", "counter", "", "Orders taken", KINDS, ())
OPEN = Entry("open", "gauge", "", "Open orders", (), ())
WAITED = Entry("wait.seconds", "histogram", "seconds", "Waited", (), (0.1, 1.0))
ALL = (ORDERS, OPEN, WAITED)


@pytest.fixture
def made() -> Iterator[list[Memory]]:
    """Memories, which are closed at the end."""
    memories: list[Memory] = []
    yield memories
    for memory in memories:
        memory.close()


def write(memory: Memory, slot: int, row: int, *values: float) -> None:
    with memory.area(slot, row) as area:
        for place, value in enumerate(values):
            area[place] += value


def values(memories: Sequence[Memory], slots: int = 2) -> dict[str, Any]:
    """Return the values by name, and by the values of labels where there are any."""
    found: dict[str, Any] = {}
    for family in families_of(memories, slots):
        for sample in family.samples:
            label = "/".join(value for _name, value in sample.labels)
            found[f"{family.name} {label}".strip()] = sample.value
    return found


def test_workers_are_added_up_and_totals_outlive_them(made: list[Memory]) -> None:
    memory = Memory.create(ALL)
    made.append(memory)
    write(memory, 0, 0, 1, 2, 5, 1, 0, 0, 0.05)
    write(memory, 1, 1, 10, 20, 6, 0, 1, 1, 3)
    assert values([memory]) == {
        "orders buy": 11,
        "orders sell": 22,
        "open": 11,
        "wait.seconds": Distribution((0.1, 1.0), (1, 1, 1), 3.05),
    }
    memory.zero_gauges(1, 1)
    assert values([memory])["open"] == 5
    again = Memory(os.dup(memory.descriptor))
    write(again, 1, 1, 1)
    assert values([memory])["orders buy"] == 12
    again.close()


def test_every_worker_has_values_of_its_own(made: list[Memory]) -> None:
    memory = Memory.create((ORDERS,))
    made.append(memory)
    for slot in range(SLOTS):
        for row in range(ROWS):
            write(memory, slot, row, 1, 1000)
    assert values([memory], SLOTS) == {"orders buy": 512, "orders sell": 512000}
    with pytest.raises(IndexError):
        memory.area(SLOTS, 0)


def test_nobody_can_change_its_size(made: list[Memory]) -> None:
    memory = Memory.create(ALL)
    made.append(memory)
    for size in (0, 1 << 30):
        with pytest.raises(PermissionError):
            os.ftruncate(memory.descriptor, size)


def test_another_file_is_no_memory() -> None:
    descriptor = os.memfd_create("other")
    os.ftruncate(descriptor, 4096)
    with pytest.raises(ValueError, match="no memory of metrics of this version"):
        Memory(descriptor)
    os.close(descriptor)


def test_without_metrics_there_is_nothing_to_read(made: list[Memory]) -> None:
    made.append(Memory.create(()))
    assert families_of(made, 2) == []
    assert families_of([], 2) == []


@pytest.mark.parametrize(
    "name", ["memfd_create", "posix_fallocate", "ftruncate", "fcntl", "pwrite", "fstat", "mmap"]
)
def test_what_the_system_refuses_leaves_nothing_behind(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: Any) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    before = descriptors_open()
    monkeypatch.setattr(system, name, refuse)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        Memory.create(ALL)
    monkeypatch.undo()
    assert descriptors_open() == before


def moved(made: list[Memory], declared: Sequence[Entry], slots: int = 2) -> Memory:
    """Carry all memories into a new one, which is then the only one."""
    memory = Memory.create(declared, carry(declared, made[::-1], slots).totals)
    for old in made:
        old.close()
    made[:] = [memory]
    return memory


def test_totals_of_what_an_edition_lacks_stay(made: list[Memory]) -> None:
    first = Memory.create(ALL)
    made.append(first)
    write(first, 0, 0, 1, 2, 5, 1, 0, 0, 0.05)
    kept = {
        "orders buy": 1,
        "orders sell": 2,
        "wait.seconds": Distribution((0.1, 1.0), (1, 0, 0), 0.05),
    }
    assert moved(made, ()).carried == (ORDERS, WAITED)
    assert values(made) == kept
    second = moved(made, (WAITED,))
    write(second, 1, 0, 0, 1, 0, 0.5)
    kept["wait.seconds"] = Distribution((0.1, 1.0), (1, 1, 0), 0.55)
    assert values(made) == kept
    assert moved(made, ALL).carried == ()
    assert values(made) == {**kept, "open": 0}


def test_what_was_counted_under_a_value_that_is_gone_stays(made: list[Memory]) -> None:
    first = Memory.create((ORDERS,))
    made.append(first)
    write(first, 0, 0, 1, 2)
    more = Entry("orders", "counter", "", "Orders", (("kind", ("rent", "buy")),), ())
    second = Memory.create((more,))
    made.insert(0, second)
    write(second, 0, 1, 10, 20)
    both = {"orders rent": 10, "orders buy": 21, "orders sell": 2}
    assert values(made) == both
    assert find_changed((more,), made) == []
    moved(made, (more,))
    assert values(made) == both
    moved(made, ())
    assert values(made) == both


def test_the_order_of_labels_makes_no_difference(made: list[Memory]) -> None:
    labels = (("kind", ("buy", "sell")), ("by", ("hand",)))
    for ordered in (labels, labels[::-1]):
        memory = Memory.create((Entry("orders", "counter", "", "Orders", ordered, ()),))
        made.insert(0, memory)
        write(memory, 0, 0, 1, 2)
    assert values(made) == {"orders hand/buy": 2, "orders hand/sell": 4}
    assert values(made[::-1]) == {"orders buy/hand": 2, "orders sell/hand": 4}


@pytest.mark.parametrize(
    "changed",
    [
        Entry("wait.seconds", "histogram", "seconds", "Waited", (), (0.1, 2.0)),
        Entry("wait.seconds", "counter", "seconds", "Waited", (), ()),
        Entry("wait.seconds", "histogram", "seconds", "Waited", (("by", ("rule",)),), (0.1, 1.0)),
    ],
)
def test_a_metric_of_another_shape_begins_anew(made: list[Memory], changed: Entry) -> None:
    first = Memory.create(ALL)
    made.append(first)
    write(first, 0, 0, 1, 2, 5, 1, 0, 0, 0.05)
    new = Memory.create((changed,))
    assert find_changed((changed,), made) == ["wait.seconds"]
    write(new, 0, 1, 7)
    made.insert(0, new)
    label = "/".join(changed.combinations[0][0][1:]) if changed.labels else ""
    name = f"wait.seconds {label}".strip()
    fresh = values(made)[name]
    assert fresh == (7 if changed.kind == "counter" else Distribution(changed.bounds, (7, 0, 0), 0))
    # The restart has failed: the old edition is the current one again.
    assert values(made[::-1])["wait.seconds"] == Distribution((0.1, 1.0), (1, 0, 0), 0.05)
    moved(made, (changed,))
    assert values(made)[name] == fresh


def test_a_gauge_ends_with_the_last_worker_that_has_it(made: list[Memory]) -> None:
    first = Memory.create((OPEN,))
    made.append(first)
    write(first, 0, 0, 5)
    made.insert(0, Memory.create((ORDERS,)))
    assert values(made)["open"] == 5
    first.zero_gauges(0, 0)
    assert "open" not in values(made)


def test_what_there_is_no_room_for_is_named(made: list[Memory]) -> None:
    many = tuple(str(number) for number in range(1000))
    for edition in range(5):
        declared = [
            Entry(f"m{edition}.{number}", "counter", "", "Numbers", (("a", many),), ())
            for number in range(4)
        ]
        made.append(Memory.create(declared))
        write(made[-1], 0, 0, *([1] * 4000))
    carried = carry((ORDERS,), made[::-1], 1)
    assert len(carried.totals) == MAX_CARRIED // 1000
    assert carried.dropped == ["m0.0", "m0.1", "m0.2", "m0.3"]


AMOUNTS = st.lists(st.floats(0, 1e12), min_size=1, max_size=20)


@given(AMOUNTS, AMOUNTS, st.randoms(use_true_random=False))
def test_a_total_does_not_fall_by_being_carried(old: Any, new: Any, random: Any) -> None:
    counter = Entry("a", "counter", "", "Numbers", (), ())
    memories = [Memory.create((counter,)) for _ in range(3)]
    for amount in (*old, *new):
        write(random.choice(memories), random.randrange(3), random.randrange(2), amount)
    before = values(memories, 3)["a"]
    assert math.isclose(before, math.fsum((*old, *new)), rel_tol=1e-12)
    carried = Memory.create((counter,), carry((counter,), memories[1:], 3).totals)
    assert before <= values([carried, memories[0]], 3)["a"] <= before * (1 + 1e-12)
    for memory in (*memories, carried):
        memory.close()


@given(st.lists(st.floats(), max_size=8))
def test_whatever_a_worker_has_written_can_be_added_up(written: list[float]) -> None:
    counter = Entry("a", "counter", "", "Numbers", (("n", tuple("12345678")),), ())
    memory = Memory.create((counter,))
    write(memory, 0, 0, *written)
    write(memory, 0, 1, *written[::-1])
    families_of([memory], 1)
    carry((counter,), [memory], 1)
    assert isinstance(add_up(written), float | int)
    memory.close()


def test_words_are_those_of_the_current_edition(made: list[Memory]) -> None:
    made.append(Memory.create((ORDERS,)))
    made.insert(0, Memory.create((Entry("orders", "counter", "orders", "All", KINDS, ()),)))
    (family,) = families_of(made, 1)
    assert family == Family("orders", "counter", "orders", "All", family.samples)


def test_an_area_reads_what_it_has_written(made: list[Memory]) -> None:
    memory = Memory.create(ALL)
    made.append(memory)
    with memory.area(0, 0) as values:
        area = Area(memory.declared, values, lambda *_given: None)
        area.values[1] = 3
        assert area.read("orders", {"kind": "sell"}) == 3
