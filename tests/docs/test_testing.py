"""docs/testing.md: every fixture and method is on it, and its code runs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import mpchat.testing
import mpchat.testsuite
from mpchat.testing import Clock, Worker, connect, request, serve, serve_config
from mpchat.testsuite.clients import HttpResponse, ServiceClient, WebsocketClient
from mpchat.testsuite.configs_service import MockConfigsService
from mpchat.testsuite.dynamic_config import DynamicConfig
from mpchat.testsuite.logs import CaptureLogs
from mpchat.testsuite.rooms import Memberships
from mpchat.testsuite.service import Service
from tests.docs.pages import ROOT, blocks

PAGE = (ROOT / "docs" / "testing.md").read_text()


def test_every_fixture_and_method_is_named() -> None:
    names = {name for name in mpchat.testsuite.__all__ if not name.startswith("pytest_")}
    for cls in (
        HttpResponse,
        ServiceClient,
        WebsocketClient,
        DynamicConfig,
        MockConfigsService,
        CaptureLogs,
        Memberships,
        Service,
    ):
        names |= {name for name in (*vars(cls), *cls.__annotations__) if not name.startswith("_")}
    named = set(re.findall(r"`(\w+)[`(]", PAGE))
    assert names - named == set()


def test_what_works_without_a_port_is_named() -> None:
    functions: list[Callable[..., Any]] = [connect, request, serve, serve_config]
    names = {name for function in functions for name in inspect.signature(function).parameters}
    # ``components`` in its other meaning, and what stands in the text.
    names -= {"handler", "config", "method", "path", "json", "data", "params", "client"}
    names |= {*mpchat.testing.__all__} - {"Worker"}
    for cls in (Clock, Worker):
        names |= {name for name in vars(cls) if not name.startswith("_")}
    named = set(re.findall(r"`(\w+)[`(]", PAGE))
    assert names - named == set()


def test_its_code_runs(pytester: pytest.Pytester) -> None:
    for name in ("static_config.yaml", "dynamic_config_fallback.json"):
        (pytester.path / name).write_text((ROOT / name).read_text())
    before = pytester.path
    for number, block in enumerate(blocks(PAGE)):
        # The orders are of a service that is not there.
        if block.file is not None:
            text = block.text.replace("addopts = --service-binary=main.py\n", "")
            (pytester.path / block.file).write_text(text)
        elif block.text.startswith("@pytest.fixture"):
            # It goes on where the one before ended.
            before.write_text(f"{before.read_text()}\n\n{block.text}")
        elif "/orders" not in block.text:
            before = pytester.path / f"test_{number}.py"
            before.write_text(block.text)
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=13)
