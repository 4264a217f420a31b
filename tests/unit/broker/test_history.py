"""The history does all that it must do; test_model.py has the sequences that nobody thought of."""

from __future__ import annotations

import pytest

from mpchat.broker.history import History
from tests.unit.broker.checks import CHECKS, Check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
def test_the_history(check: Check) -> None:
    check(History)
