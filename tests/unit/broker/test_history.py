"""The history: all that it must do, and the same against a model, for any sequence of what may happen."""

from __future__ import annotations

import pytest

from mpchat.broker.history import History
from tests.unit.broker.checks import CHECKS, Check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
def test_the_history(check: Check) -> None:
    check(History)
