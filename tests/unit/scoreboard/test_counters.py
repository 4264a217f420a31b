"""The table of counters: each is counted by the package, shown by status, and described on the page."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mpchat
from mpchat.scoreboard.counters import GAUGES, LIMITS, TABLE, TOTALS, TRAFFIC, Counters, Metric
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.scoreboard.status import ConsolePlace, Status

PAGE = Path(__file__).parents[3] / "docs/control-socket.md"
COUNTING = ("rooms", "server", "tls", "websocket", "worker")
CODE = [
    node
    for package in COUNTING
    for path in (Path(mpchat.__file__).parent / package).glob("*.py")
    for node in ast.walk(ast.parse(path.read_text()))
]


def changed_counters() -> set[str]:
    """Return the attributes of a worker's counters that some code changes."""
    targets: list[ast.expr] = []
    for node in CODE:
        if isinstance(node, ast.AugAssign):
            targets.append(node.target)
        elif isinstance(node, ast.Assign):
            targets += node.targets
    return {
        target.attr
        for whole in targets
        for target in (whole.elts if isinstance(whole, ast.Tuple) else [whole])
        if isinstance(target, ast.Attribute) and ast.unparse(target.value).endswith("counters")
    }


def named_limits() -> set[str]:
    """Return the strings that code uses for something other than the alias of an option."""
    aliases = {id(n.value) for n in CODE if isinstance(n, ast.keyword) and n.arg == "alias"}
    return {
        node.value
        for node in CODE
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in aliases
    }


def test_the_table_has_every_number_once() -> None:
    names = [metric.name for metric in TABLE]
    assert names == [*TOTALS, *GAUGES, *LIMITS]
    assert len(set(names)) == len(names)
    assert TOTALS[-len(TRAFFIC) :] == TRAFFIC


def test_code_counts_all_of_it() -> None:
    assert changed_counters() == {*TOTALS, *GAUGES}
    assert set(LIMITS) <= named_limits()


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_the_page_describes_it(metric: Metric) -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{metric.name}`")]
    assert any(row.endswith(f"| {metric.unit} | {metric.help} |") for row in rows)


def test_status_shows_each_under_its_own_name() -> None:
    board = Scoreboard.create()
    board.set_service("slots", 1)
    board.set_slot(0, "wanted", 1)
    counters = Counters()
    counted = {name: number for number, name in enumerate((*TOTALS, *GAUGES), start=1)}
    for name, number in counted.items():
        setattr(counters.traffic_of("chat") if name in TRAFFIC else counters, name, number)
    row = board.row(0, 0)
    row.publish(counters)
    limited = {name: number for number, name in enumerate(LIMITS, start=100)}
    for name, number in limited.items():
        for _ in range(number):
            row.count_limit(name)
    shown = Status("1", board, "ws://localhost", "main", 1, 15.0, ConsolePlace()).collect()
    row.release()
    board.close()
    assert shown["totals"] == counted
    assert shown["limits"] == limited
    (worker,) = shown["workers"]
    assert {name: worker[name] for name in TOTALS} == {name: counted[name] for name in TOTALS}
