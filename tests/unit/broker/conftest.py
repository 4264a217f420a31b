"""A broker for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.broker.rig import Rig


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    """Make brokers, with options of the rig."""
    made: list[Rig] = []

    def make(*args: Any, **options: Any) -> Rig:
        made.append(Rig(*args, **options))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def rig(rigs: Callable[..., Rig]) -> Rig:
    """A broker with plain options."""
    return rigs()
