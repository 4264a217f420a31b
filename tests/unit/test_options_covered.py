"""Every option has a test that sets it and sees what it does.

Whether the test sets it is seen when it runs: tests/functional/conftest.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from mpchat.config.types import OptionsModel
from tests.kit.covering import PLACES, WITHOUT_EFFECT_YET, is_set, options, variables

TESTS = Path(__file__).parent.parent


def claims() -> Iterator[tuple[str, str]]:
    """Yield each option that a test covers, and the test."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                test = f"{path.relative_to(TESTS)}::{node.name}"
                marks = [found for mark in node.decorator_list for found in ast.walk(mark)]
                for mark in marks:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == MARK:
                        for name in mark.args:
                            assert isinstance(name, ast.Constant)
                            yield str(name.value), test
                        assert not any(
                            word in ast.unparse(m)
                            for m in node.decorator_list
                            for word in ("skip", "xfail")
                        ), test


MARK = "pytest.mark.covers"
CLAIMS = [*claims()]


def test_every_option_is_covered_and_nothing_else() -> None:
    assert {name for name, _test in CLAIMS} == {*options(), *variables()}


def test_every_model_has_its_place() -> None:
    assert {name.partition(".")[0] for name in options()} == {*PLACES}


def test_models_without_an_effect_are_still_there() -> None:
    def names(base: type[BaseModel]) -> Iterator[str]:
        for cls in base.__subclasses__():
            yield cls.__qualname__
            yield from names(cls)

    assert set(WITHOUT_EFFECT_YET) <= set(names(OptionsModel))


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
