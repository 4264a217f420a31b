"""The votes of the poll, and who waits for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from mpchat import Component, Components


class Votes(Component):
    """Counts votes. Each worker would have its own, so the config has one worker."""

    name = "votes"

    def __init__(self, options: Component.Options, components: Components) -> None:
        super().__init__(options, components)
        self.counts = Counter[str]()
        self._changed = asyncio.Event()

    def add(self, choice: str) -> None:
        """Count a vote, and wake up who waits for one."""
        self.counts[choice] += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def changes(self) -> AsyncIterator[Counter[str]]:
        """Yield the votes now, and whenever they have changed."""
        while True:
            changed = self._changed
            yield self.counts
            await changed.wait()
