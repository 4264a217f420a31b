"""``make bench-idle`` in small: a real service, a few hundred connections."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from bench.idle.crowd import compile_client
from bench.idle.measuring import How, measure
from bench.idle.plan import plan

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None and "CI" not in os.environ, reason="the client is written in C"
)


def test_all_connect_rest_come_back_and_are_drained(tmp_path: Path) -> None:
    program, folder = tmp_path / "client", tmp_path / "service"
    folder.mkdir()
    compile_client(program)
    how = How(program, folder, floor_kib=0, seconds=1.0, settle=0.1, ping_interval=0.5)
    found = measure("most", plan(300, 1_000, workers=2), how)
    assert (found["reached"], found["stopped"]) == (300, "all were there")
    assert (found["lost"], found["rest"]["lost"]) == ({}, {})
    assert found["added"] == 300 - 100 - 2 * 20
    assert found["rest"]["pings_per_second"] > 0
    assert found["ping"]["answers"] > 0
    assert found["echo"]["answers"] > 0
    restart, drain = found["restart"], found["drain"]
    assert (restart["verb_code"], restart["open"], restart["refused"]) == (0, 300, 0)
    # Who comes back before all slots have moved may be closed once more.
    assert set(restart["codes"]) == {"1012"}
    assert 300 <= restart["codes"]["1012"] == restart["opened"]
    assert (drain["exit_code"], drain["codes"]) == (0, {"1001": 300})
