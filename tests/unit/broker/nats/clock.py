"""A loop whose time passes only when nobody has anything to do: no test waits, and each runs the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

DEADLINE = 120.0
"""Seconds of the loop's clock for what a test waits for."""


class _Selector(selectors.SelectSelector):
    """Has no files, and moves the clock instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("everybody waits for ever")
        self.now += max(0.0, timeout)
        return []


class Loop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a loop of its own."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main)


async def until(condition: Callable[[], object], limit: float = DEADLINE) -> None:
    """Let time pass until something is so."""
    async with asyncio.timeout(limit):
        while not condition():  # noqa: ASYNC110 - it costs nothing here
            await asyncio.sleep(0.002)
