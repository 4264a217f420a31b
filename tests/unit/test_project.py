"""What must stay true of the project as a whole."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mpchat
import mpchat.testing

ROOT = Path(__file__).parent.parent.parent
HANDLERS = Path(mpchat.__file__).parent / "handlers"


def test_every_name_for_authors_can_be_had() -> None:
    for name in mpchat.__all__:
        assert getattr(mpchat, name) is not None
    with pytest.raises(AttributeError):
        _ = mpchat.no_such_name


def test_every_name_for_authors_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "handlers.md").read_text()
    assert [name for name in mpchat.__all__ if f"`{name}" not in page] == []


def test_both_type_checkers_see_every_name_for_authors_in_use() -> None:
    files = [*(ROOT / "tests" / "fixtures" / "typing").glob("*.py")]
    used = {
        node.id
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name)
    }
    assert {*mpchat.__all__, *mpchat.testing.__all__} - used == set()


def test_our_handlers_use_what_authors_can() -> None:
    allowed = {*mpchat.__all__, "Chat", "Ping", "TestsControl"}
    for path in HANDLERS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mpchat"):
                names = {alias.name for alias in node.names}
                assert names <= allowed, f"{path.name} imports {names - allowed}"


def test_the_supervisor_loads_the_standard_library_only() -> None:
    code = "import sys, mpchat.supervisor.supervisor; print(*sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    names = {name.partition(".")[0] for name in result.stdout.split()}
    heavy = {"click", "pydantic", "yaml", "setproctitle", "uvloop", "websockets", "asyncio"}
    assert not names & heavy


def test_reference_pages_are_fresh() -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    assert result.returncode == 0


def test_the_unit_limits_memory_and_leaves_no_core_dumps() -> None:
    unit = (ROOT / "deploy" / "mpchat.service").read_text().splitlines()
    assert {"LimitCORE=0", "MemoryMax=80%", "OOMPolicy=continue"} <= set(unit)
