"""``make bench-storm``: its verdicts, and each of its phases in small, with a real service."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.running import Place
from bench.storm import report
from bench.storm.measuring import (
    KINDS,
    PROBES,
    RATE,
    Clients,
    How,
    alone,
    compile_client,
    may_come_first,
    phases,
)

DOCS = Path(__file__).parents[3] / "docs"
HANDSHAKES, BURNING = KINDS


def second(**counts: int) -> dict[str, int]:
    none = dict.fromkeys(("begun", "taken", "served", "refused", "failed", "given_up"), 0)
    return none | counts


def answers(p99_ms: float) -> dict[str, Any]:
    return {"answers": 1000, "p50_us": 100, "p99_us": p99_ms * 1000, "most_us": 200_000} | {
        "client_p99_us": 50
    }


def seen(
    *, quiet: float, storm: float, after: list[float], coming: dict[str, int]
) -> dict[str, Any]:
    probed = [second(begun=PROBES, taken=PROBES, served=PROBES) for _ in after]
    seconds = [second(**coming)] * 3
    return {
        "quiet": {"windows": [answers(99), answers(quiet), answers(quiet)]},
        "onset": {"windows": [answers(storm)] * 3, "seconds": seconds},
        "storm": {"windows": [answers(storm)] * 3, "seconds": seconds},
        "after": {"windows": [answers(p99) for p99 in after], "seconds": probed},
    }


@pytest.mark.parametrize(
    ("kind", "quiet", "most"), [(HANDSHAKES, 2, 7), (HANDSHAKES, 20, 30), (BURNING, 2, 62)]
)
def test_what_those_who_are_connected_may_wait(kind: Any, quiet: int, most: int) -> None:
    assert report.most_p99_us(kind, quiet * 1000) == most * 1000


def test_a_verdict_for_each_bar() -> None:
    good = seen(quiet=2, storm=6, after=[9, 2, 2], coming={"begun": 5000, "taken": 800})
    bad = seen(quiet=2, storm=8, after=[2, 2, 9], coming={"begun": 1900, "taken": 799})
    run = {"kind": HANDSHAKES.name, "alone": 1000.0, "limited": good, "free": bad}
    assert [*report.verdicts(HANDSHAKES, run, "limited").values()] == [True] * 4
    assert [*report.verdicts(HANDSHAKES, run, "free").values()] == [False] * 4
    assert report.recovered(HANDSHAKES, good) == 1
    assert report.recovered(HANDSHAKES, bad) is None


def test_who_is_not_taken_any_more_has_not_recovered() -> None:
    found = seen(quiet=2, storm=2, after=[2, 2, 2], coming={"begun": 5000, "taken": 900})
    found["after"]["seconds"][1] = second(begun=PROBES, taken=PROBES // 2)
    assert report.recovered(HANDSHAKES, found) == 2


def test_the_page_has_tables_and_verdicts_of_each_kind() -> None:
    good = seen(quiet=2, storm=6, after=[2], coming={"begun": 5000, "taken": 1234, "refused": 321})
    runs = [{"kind": kind.name, "alone": 1500.0, "limited": good, "free": good} for kind in KINDS]
    document = {"date": "2026-01-01", "cores": 2, "load": 0.1, "first": False, "runs": runs}
    document |= {"cpu": "x", "kernel": "1", "python": "y", "form": "compiled", "versions": {}}
    document |= {"quiet": 5, "onset": 6, "storm": 10}
    page = report.page(document)
    assert "Measured on 2026-01-01" in page
    assert "- **A verdict** compares phases of one run. Without a storm, 5 s are measured" in page
    assert "SCHED_FIFO needs root" in page
    for text in ("A storm of handshakes", "A storm of requests of 20 ms", "1,234", "321"):
        assert text in page
    assert page.count("- With the limiter: ") == 4 + 3


def test_the_page_is_printed_from_its_numbers() -> None:
    measured = json.loads((DOCS / "benchmark-overload.json").read_text())
    hint = "in loadtests: python -m bench.storm --again ../docs/benchmark-overload.json --write ../docs"
    assert (DOCS / "benchmark-overload.md").read_text() == report.page(measured), hint


@pytest.mark.skipif(
    shutil.which("cc") is None and "CI" not in os.environ, reason="the client is written in C"
)
def test_those_who_are_connected_are_answered_in_each_phase(tmp_path: Path) -> None:
    program = tmp_path / "client"
    compile_client(program)
    cores = sorted(os.sched_getaffinity(0))
    place = Place(sys.executable, str(cores[0]))
    clients = Clients(program, cores[-1], may_come_first())
    how = How(clients, tmp_path, place, 1, 1, 1, 1)
    capacity = alone(BURNING, how)
    assert capacity > 0
    found = phases(BURNING, how, capacity, limited=True)
    assert [*found] == ["quiet", "onset", "storm", "after"]
    for name in found:
        (window,) = found[name]["windows"]
        # All are answered: whoever is connected stays so.
        assert window["answers"] == RATE
        assert window["p50_us"] <= window["p99_us"] <= window["most_us"]
    assert found["onset"]["seconds"][0]["begun"] > 0
    (probes,) = found["after"]["seconds"]
    assert 0 < probes["begun"] <= PROBES
