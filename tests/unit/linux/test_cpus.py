"""How many CPUs something lets us have: userver's three places, in its order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mpchat.linux.accounting import run_delay
from mpchat.linux.cpus import cpu_limit, cpus


def group(folder: Path, limit: str) -> str:
    """Write what the kernel shows of our control group."""
    own = folder / "sys/fs/cgroup/a/b"
    own.mkdir(parents=True)
    (own / "cpu.max").write_text(limit)
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text("3:cpu:/x\n0::/a/b\n")
    return f"{folder}/"


def test_variables_come_before_the_control_group(tmp_path: Path) -> None:
    root = group(tmp_path, "150000 100000\n")
    assert cpu_limit({}, root) == 1.5
    assert cpu_limit({"DEPLOY_VCPU_LIMIT": "2500"}, root) == 2.5
    assert cpu_limit({"DEPLOY_VCPU_LIMIT": "2500", "CPU_LIMIT": "4c"}, root) == 4


@pytest.mark.parametrize("limit", ["max 100000\n", "", "100000\n", "100000 0\n"])
def test_what_is_no_limit_limits_nothing(tmp_path: Path, limit: str) -> None:
    root = group(tmp_path, limit)
    assert cpu_limit({"CPU_LIMIT": "4", "DEPLOY_VCPU_LIMIT": "many"}, root) is None
    assert cpu_limit({"CPU_LIMIT": "c"}, root) is None


def test_what_cannot_be_read_limits_nothing(tmp_path: Path) -> None:
    assert cpu_limit({}, f"{tmp_path}/") is None


def test_without_a_limit_those_count_that_we_may_run_on() -> None:
    assert cpus(None) == len(os.sched_getaffinity(0))
    assert cpus(1.5) == 1.5


def test_waiting_for_a_cpu_is_counted() -> None:
    first = run_delay()
    assert first is not None
    second = run_delay()
    assert second is not None
    assert second >= first >= 0
