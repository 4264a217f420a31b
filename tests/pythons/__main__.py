"""A part of the tests with each version of Python that is promised: ``make test-pythons``.

Rules. A version that this machine has (on the path, or of pyenv) is taken as it is; the others come from
Debian's sid, into memory, which needs root and mmdebstrap. None is skipped. Each version compiles a wheel
of its own from the source distribution, without optimizing, which takes half the time; it is installed in
an environment of its own, with the tests beside it. What ``recv`` and ``send`` promise is tested in both
forms.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from tests.debian import SOURCE, WHEELS, Debian
from tests.docs.pages import ROOT

VERSIONS = ("3.12", "3.13", "3.14", "3.15")
"""All but the one that ``make test`` runs with."""
PART = (
    *(
        f"tests/unit/{name}"
        for name in (
            "components",
            "ipc",
            "linux",
            "loglines",
            "logs",
            "monitor",
            "scoreboard",
            "supervisor",
            "testing",
        )
    ),
    *(f"tests/unit/websocket/test_{name}.py" for name in ("contract", "pings", "writes", "wheel")),
    "tests/functional/test_chat.py",
    *(
        f"tests/functional/test_processes.py::test_{name}"
        for name in (
            "ready_line_titles_and_stop",
            "a_killed_worker_is_replaced",
            "the_template_may_die",
            "the_monitor_may_die",
            "nothing_outlives_a_killed_supervisor",
            "a_storm_of_signals_loses_none",
            "closed_standard_descriptors_stay_unused",
            "a_template_that_leaves_is_told_as_it_is",
            "workers_that_cannot_start_end_the_service",
            "stop_closes_with_1001_and_a_second_signal_hurries",
        )
    ),
)
"""Processes, descriptors, tasks and logs; parsers are the same everywhere.

A test that starts a service takes seconds: there is one of each kind.
"""
BOTH_FORMS = ("tests/unit/websocket/test_contract.py", "tests/unit/websocket/test_state.py")
"""Also interpreted."""
_MAX_SECONDS = 600
"""For the tests of one version: one that hangs fails."""
_CHECKOUT = (
    "tests",
    "docs",
    "static_config.yaml",
    "dynamic_config_fallback.json",
    "pyproject.toml",
)
"""Without the package, so that it can only come from the wheel."""


def main() -> None:
    """Run, and leave with 1 if a test fails with any version."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("versions", nargs="*", default=VERSIONS, help="by default all")
    versions = parser.parse_args().versions
    found = sorted((ROOT / "dist").glob("mpchat-*.tar.gz"), key=lambda path: path.stat().st_mtime)
    if not found:
        parser.exit(1, "no source distribution in dist (make wheel)\n")
    package = found[-1]
    with tempfile.TemporaryDirectory(prefix="mpchat-pythons-") as name:
        folder = Path(name)
        here = {version: python for version in versions if (python := _find(version))}
        failed = []
        if here:
            _copy_checkout(folder / "checkout")
        for version, python in here.items():
            script = _script(python, folder / version, package, folder / "checkout")
            if not _passes(version, _run, script):
                failed.append(version)
        others = [version for version in versions if version not in here]
        if others:
            failed += _in_debian(folder, others, package)
    if failed:
        sys.exit(f"tests failed with Python {', '.join(failed)}")


def _in_debian(folder: Path, versions: list[str], package: Path) -> list[str]:
    """Return the versions with which tests failed."""
    debian = Debian(folder)
    try:
        pythons = [f"python{version}-{part}" for version in versions for part in ("venv", "dev")]
        debian.make(["gcc", "libc6-dev", *pythons], "sid")
        _copy_checkout(debian.path(SOURCE))
        failed = []
        for version in versions:
            debian.add_wheels(version, *_requirements())
            inside = Path(WHEELS, package.name)
            shutil.copy(package, debian.path(WHEELS))
            script = _script(f"python{version}", Path("/opt", version), inside, Path(SOURCE))
            if not _passes(version, debian.show, script):
                failed.append(version)
        return failed
    finally:
        debian.close()


def _find(version: str) -> str | None:
    """Return an interpreter of this machine that can make environments."""
    of_pyenv = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    for candidate in (shutil.which(f"python{version}"), *map(str, sorted(of_pyenv))):
        # On the path may be a shim of pyenv that only says that there is none.
        check = [candidate or "false", "-c", "import ensurepip, venv"]
        if subprocess.run(check, capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def _copy_checkout(target: Path) -> None:
    target.mkdir(parents=True)
    for name in _CHECKOUT:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copy(source, target)


def _requirements() -> list[str]:
    """Return what the package needs to be built, to run and to be tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needs = project["project"]
    extra: list[str] = needs["optional-dependencies"]["test"]
    return [*project["build-system"]["requires"], *needs["dependencies"], *extra]


def _script(python: str, environment: Path, package: Path, checkout: Path) -> str:
    wheels, pytest = (
        environment / "wheels",
        f"{environment}/bin/python -m pytest -q -p no:cacheprovider",
    )
    return f"""
{shlex.quote(python)} -m venv {environment}
export MPCHAT_COMPILE=1 CFLAGS=-O0 {"CI=true" if "CI" in os.environ else ""}
{environment}/bin/python -m pip wheel --quiet --no-deps --wheel-dir {wheels} {package}
{environment}/bin/python -m pip install --quiet "$(ls {wheels}/mpchat-*.whl)[test]"
cd {checkout}
MPCHAT_COMPILED=1 timeout {_MAX_SECONDS} {pytest} -n 4 {" ".join(PART)}
MPCHAT_COMPILED=0 timeout {_MAX_SECONDS} {pytest} {" ".join(BOTH_FORMS)}
"""


def _run(script: str) -> int:
    return subprocess.call(["sh", "-euc", script], stdin=subprocess.DEVNULL)


def _passes(version: str, run: Callable[[str], int], script: str) -> bool:
    print(f"Python {version}", flush=True)
    begun = time.monotonic()
    passed = run(script) == 0
    said = "passed" if passed else "FAILED"
    print(f"Python {version} {said}, {time.monotonic() - begun:.0f} s", flush=True)
    return passed


if __name__ == "__main__":
    main()
