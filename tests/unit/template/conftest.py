"""What tests of the template's sections share."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from mpchat.console import options
from mpchat.template import console


@pytest.fixture
def no_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the console's libraries is not installed."""

    def missing(names: Iterable[str] = options.LIBRARIES) -> tuple[str, ...]:
        return tuple(name for name in names if name == "aiohttp")

    monkeypatch.setattr(console, "missing_libraries", missing)
