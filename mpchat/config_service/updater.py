"""Follows the config service: asks it, merges what it answers, and has that put into force.

Rules. One update at a time, the first at once and full. What is held changes only when an answer is in
force, so a refused answer is asked for again. Clock, sleep, randomness, network and sink are passed in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from mpchat.config_service import cache_file
from mpchat.config_service.answer import Answer, parse
from mpchat.config_service.errors import UpdateFailed
from mpchat.config_service.holding import Held, Merged, take_full, take_incremental
from mpchat.config_service.numbers import Numbers
from mpchat.config_service.options import ConfigServicePlan
from mpchat.config_service.outage import Outage
from mpchat.config_service.request import body
from mpchat.config_service.schedule import Kind, Schedule
from mpchat.errors import describe_os_error

log = logging.getLogger("mpchat.config_service")


class Sink(Protocol):
    """Puts values into force."""

    async def apply(self, values: Mapping[str, Any]) -> str:
        """Have the config service's variables be these; return why they were refused, or nothing."""

    async def failed(self, text: str) -> None:
        """Take note that an update has failed before there were values to apply."""

    async def confirmed(self) -> None:
        """Take note that an update has succeeded, and changed nothing."""

    async def in_force(self) -> Mapping[str, Any]:
        """Return all variables that are in force, after what was applied last, with their defaults."""


class Updater:
    """Updates the dynamic config of one service."""

    def __init__(
        self,
        plan: ConfigServicePlan,
        fetch: Callable[[bytes], Awaitable[bytes]],
        sink: Sink,
        numbers: Numbers,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        uniform: Callable[[float, float], float],
    ) -> None:
        self._plan = plan
        self._fetch = fetch
        self._sink = sink
        self._numbers = numbers
        self._clock = clock
        self._sleep = sleep
        self._schedule = Schedule(plan.updater, uniform)
        self._outage = Outage(log, plan.client.config_url)
        self._held: Held | None = None

    async def run(self) -> None:
        """Update until the task is cancelled."""
        while True:
            succeeded = await self._update()
            await self._sleep(self._schedule.wait(failed=not succeeded))

    async def _update(self) -> bool:
        """Make one update; return whether it has succeeded."""
        begun = self._clock()
        kind = self._schedule.kind(begun)
        self._numbers.begun(kind, begun)
        try:
            answer = await self._ask(kind)
            self._numbers.read(kind, len(answer.configs))
            merged = await asyncio.to_thread(self._merge, kind, answer)
        except UpdateFailed as failure:
            await self._sink.failed(str(failure))
            return self._failed(kind, begun, str(failure))
        if reason := await self._pass_on(merged):
            self._numbers.refused(kind)
            return self._failed(kind, begun, f"its values were refused: {reason}")
        self._held = merged.held
        self._schedule.succeeded(kind, begun)
        self._numbers.succeeded(
            kind, begun, self._clock(), changed=merged.changed, held=len(merged.held.values)
        )
        self._outage.over()
        if merged.changed:
            await self._write_cache(merged.held)
        return True

    async def _ask(self, kind: Kind) -> Answer:
        since = self._held.updated_at if self._held is not None and kind == "incremental" else None
        content = await self._fetch(body(self._plan, since))
        # The largest answers take seconds, in which this process would look stuck.
        return await asyncio.to_thread(parse, content)

    def _merge(self, kind: Kind, answer: Answer) -> Merged:
        known = frozenset(self._plan.ids)
        deduplicate = self._plan.updater.deduplicate_update_types
        if kind == "full" or self._held is None:
            return take_full(self._held, answer, known, deduplicate)
        return take_incremental(self._held, answer, known, deduplicate)

    async def _pass_on(self, merged: Merged) -> str:
        """Tell the sink what an update came to; return why that was refused, or nothing."""
        if merged.changed and self._plan.updater.store_enabled:
            return await self._sink.apply(merged.held.values)
        await self._sink.confirmed()
        return ""

    def _failed(self, kind: Kind, begun: float, text: str) -> bool:
        self._numbers.failed(kind, begun, self._clock())
        self._outage.failed(text)
        return False

    async def _write_cache(self, held: Held) -> None:
        path = self._plan.cache_path
        if path is None:
            return
        values = {**await self._sink.in_force(), **held.values}
        try:
            await asyncio.to_thread(cache_file.write, path, values)
        except OSError as error:
            reason = describe_os_error(error)
            log.error("cannot write the cache file %s: %s", path, reason)  # noqa: TRY400 - no bug of ours
