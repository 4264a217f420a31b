"""Which form of the hot path is used. What is compiled, and how, is tests/install/checks.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mpchat
from mpchat.compiled import FOLDER, MANIFEST, MODULES, SUFFIX, TYPES, digest, sources, use_compiled

PACKAGE = Path(mpchat.__file__).parent
FIRST = "mpchat.websocket.budget"
SHOW = "import mpchat; print(mpchat.FORM)"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package as source, with a folder for its compiled form."""
    target = tmp_path / "mpchat"
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__", FOLDER))
    (target / FOLDER).mkdir()
    return target


def says(copy: Path, failure: str = "") -> None:
    """Write the manifest of what was compiled from these sources."""
    (copy / FOLDER / MANIFEST).write_text(f"{digest(str(copy))}\n{failure}\n")


def form(copy: Path, switch: str | None = None, code: str = SHOW) -> str:
    """Return the form that a process with this package has, or its error."""
    environment = {name: value for name, value in os.environ.items() if name != "MPCHAT_COMPILED"}
    if switch is not None:
        environment["MPCHAT_COMPILED"] = switch
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() or result.stderr.strip().splitlines()[-1]


def test_the_modules_are_those_with_types_beside_them() -> None:
    stems = {path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.p[xy][dx]")}
    assert {".".join(("mpchat", *stem.parts)) for stem in stems} == {*MODULES, *TYPES}
    names = [Path(file).name for file in sources(str(PACKAGE))]
    assert len(names) >= 2 * len(MODULES)


def test_it_is_compiled_while_the_manifest_is_of_its_sources(copy: Path) -> None:
    says(copy)
    assert form(copy) == form(copy, "1") == "compiled"


def test_the_compiled_modules_come_from_their_folder_and_nothing_else_does(copy: Path) -> None:
    says(copy)
    # No such thing can be loaded: only the attempt shows where it comes from.
    (copy / FOLDER / f"{FIRST}{SUFFIX}").write_bytes(b"")
    said = form(copy, code=f"import mpchat.websocket.thresholds, {FIRST}")
    assert said == f"ImportError: {copy}/{FOLDER}/{FIRST}{SUFFIX}: file too short"


@pytest.mark.parametrize("kind", [".py", ".pxd"])
def test_a_changed_source_has_everything_interpreted(copy: Path, kind: str) -> None:
    says(copy)
    source = copy.joinpath(*FIRST.split(".")[1:]).with_suffix(kind)
    source.write_text(source.read_text() + "\n")
    assert form(copy).startswith("interpreted: its source has changed since it was compiled; `make")
    assert "MPCHAT_COMPILED=1, but its source has changed" in form(copy, "1")


def test_a_source_that_came_or_went_has_everything_interpreted(copy: Path) -> None:
    says(copy)
    source = copy.joinpath(*FIRST.split(".")[1:]).with_suffix(".pxd")
    source.rename(source.with_suffix(".pyx"))
    assert "its source has changed" in form(copy)


def test_it_says_that_it_was_not_compiled_and_why(copy: Path) -> None:
    assert form(copy).startswith("interpreted: it was not compiled for this Python (cpython-3")
    says(copy, "there is no C compiler (cc)")
    assert form(copy) == "interpreted: it was not compiled: there is no C compiler (cc)"
    assert form(copy, "1").endswith(
        "MPCHAT_COMPILED=1, but it was not compiled: there is no C compiler (cc)"
    )


def test_it_is_interpreted_on_demand(copy: Path) -> None:
    says(copy)
    assert form(copy, "0") == "interpreted: MPCHAT_COMPILED=0"
    assert use_compiled(str(copy), {"MPCHAT_COMPILED": "0"}).wanted


def test_another_value_of_the_variable_is_an_error(copy: Path) -> None:
    assert form(copy, "yes") == "ImportError: MPCHAT_COMPILED=yes: expected 0, 1 or nothing"
    assert form(copy, "") != form(copy, "yes")


def test_the_command_says_its_form() -> None:
    for switch, said in (("0", "interpreted: MPCHAT_COMPILED=0"), ("", form(PACKAGE))):
        result = subprocess.run(
            [sys.executable, "-m", "mpchat", "--version"],
            env={**os.environ, "MPCHAT_COMPILED": switch},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout == f"mpchat {mpchat.__version__}, {said}\n"
