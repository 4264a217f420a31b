"""Every option has a test that sets it and sees what it does.

A functional test is seen to set it when it runs (tests/functional/conftest.py), any other by its source.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.covering import PLACES, is_set, options, variables

TESTS = Path(__file__).parent.parent


def claims() -> Iterator[tuple[str, Path, str]]:
    """Yield each option that a test covers, the test's file and its source."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for call in (found for mark in node.decorator_list for found in ast.walk(mark)):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == MARK:
                        for name in call.args:
                            yield ast.literal_eval(name), path, ast.unparse(node)


MARK = "pytest.mark.covers"
CLAIMS = [*claims()]


def test_every_option_is_covered_and_nothing_else() -> None:
    assert {name for name, _path, _source in CLAIMS} == {*options(), *variables()}


@pytest.mark.parametrize(("name", "path", "source"), CLAIMS)
def test_a_test_that_covers_an_option_is_run_and_sets_it(
    name: str, path: Path, source: str
) -> None:
    assert "pytest.mark.skip" not in source
    assert "pytest.mark.xfail" not in source
    if not path.is_relative_to(TESTS / "functional"):
        option = name.rpartition(".")[2].replace("-", "_")
        assert f"{option}=" in source


def test_every_model_has_its_place() -> None:
    assert {name.partition(".")[0] for name in options()} == {*PLACES}


@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("ServerOptions.body-timeout", {"components": {"server": {"body-timeout": "1s"}}}, True),
        ("ServerOptions.body-timeout", {"components": {"server": {"body-timeout": "30s"}}}, False),
        ("ServerOptions.body-timeout", {"components": {"other": {"body-timeout": "1s"}}}, False),
        ("HandlerBase.method", {"components": {"handler-x": {"method": "POST"}}}, True),
        ("Drain.window_ms", {"MPCHAT_DRAIN": {"window_ms": 1}}, True),
        ("Drain.window_ms", {"MPCHAT_DRAIN": {"deadline_ms": 1}}, False),
        ("USERVER_LOG_REQUEST", {"USERVER_LOG_REQUEST": False}, True),
        ("USERVER_LOG_REQUEST", {"USERVER_LOG_REQUEST": True}, False),
    ],
)
def test_what_counts_as_set(name: str, config: object, expected: bool) -> None:
    assert is_set(name, [config]) is expected
