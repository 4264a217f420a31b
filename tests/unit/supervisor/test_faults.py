from __future__ import annotations

import errno
from itertools import pairwise

from mpchat.supervisor import faults as module
from mpchat.supervisor.faults import Faults, describe
from mpchat.supervisor.log import Log


class Lines(Log):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def _write(self, level: str, text: str) -> None:
        self.lines.append(text)


def boom() -> None:
    raise ZeroDivisionError("a bug")


def refuse() -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def test_what_the_system_refuses_is_one_line_and_a_bug_shows_its_traceback() -> None:
    log = Lines()
    faults = Faults(log)
    assert not faults.attempt("open a door", refuse)
    assert not faults.attempt("divide", boom)
    assert log.lines[0] == "cannot open a door: Too many open files"
    assert log.lines[1].startswith("cannot divide: a bug in mpchat\nTraceback")
    assert "ZeroDivisionError: a bug" in log.lines[1]
    assert faults.count == 2
    assert describe(MemoryError()) == "Cannot allocate memory"


def test_a_step_that_fails_is_put_off_longer_each_time_up_to_a_second() -> None:
    faults = Faults(Lines())
    runs: list[float] = []
    now = 0.0

    def fail() -> None:
        runs.append(now)
        boom()

    while now < 10:
        faults.attempt_later("divide", fail, now)
        now += 0.0005
    waits = [later - earlier for earlier, later in pairwise(runs)]
    assert waits[0] < 0.002
    assert all(b >= a - 0.001 for a, b in pairwise(waits))
    assert max(waits) < 1.01
    assert 15 < len(runs) < 25


def test_a_step_that_failed_is_due_when_its_time_has_come_even_if_it_names_none() -> None:
    faults = Faults(Lines())
    assert faults.put_off("divide", None) is None
    faults.attempt_later("divide", boom, 5.0)
    assert faults.put_off("divide", None) == 5.0 + module.FIRST_WAIT
    assert faults.put_off("divide", 1.0) == 5.0 + module.FIRST_WAIT
    faults.attempt_later("divide", lambda: None, 6.0)
    assert faults.put_off("divide", 1.0) == 1.0


def test_only_a_hundred_failed_turns_in_a_row_over_a_minute_are_too_many() -> None:
    faults = Faults(Lines())
    now = 0.0
    turns, ends = 0, False
    while not ends:
        faults.attempt("divide", boom)
        now += faults.wait
        turns, ends = turns + 1, faults.end_turn(now)
    assert turns >= module.MAX_TURNS
    assert now >= module.MAX_TURNS_SECONDS
    assert faults.wait == module.MAX_WAIT


def test_a_turn_without_a_fault_begins_the_count_anew() -> None:
    faults = Faults(Lines())
    for turn in range(500):
        faults.attempt("divide", boom)
        assert not faults.end_turn(float(turn))
        assert faults.wait > 0
        assert not faults.end_turn(turn + 0.5)
        assert faults.wait == 0


def test_a_log_without_memory_does_not_make_it_worse() -> None:
    class Full(Log):
        def error(self, text: str) -> None:
            raise MemoryError

    faults = Faults(Full())
    assert not faults.attempt("divide", boom)
    assert faults.count == 1
