"""The CPUs that this process may use.

Rules. As userver, in this order: the variables CPU_LIMIT (``4c``) and DEPLOY_VCPU_LIMIT (``4000``, in
thousandths), and the ``cpu.max`` of our own control group (v2). What cannot be read or is no number
limits nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def cpu_limit(environ: Mapping[str, str], root: str = "/") -> float | None:
    """Return how many CPUs something lets us have, None if nothing limits them; ``root`` is for tests."""
    named = environ.get("CPU_LIMIT", "")
    if named.endswith("c") and (found := _number(named[:-1])) is not None:
        return found
    if (found := _number(environ.get("DEPLOY_VCPU_LIMIT", ""))) is not None:
        return found / 1000
    return _of_group(root)


def cpus(limit: float | None) -> float:
    """Return how many CPUs we have under this limit: without one, those that we may run on."""
    return len(os.sched_getaffinity(0)) if limit is None else limit


def _of_group(root: str) -> float | None:
    for line in _read(f"{root}proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            quota, _space, period = _read(f"{root}sys/fs/cgroup{line[3:]}/cpu.max").partition(" ")
            if quota.isdigit() and period.strip().isdigit() and int(period):
                return int(quota) / int(period)
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
