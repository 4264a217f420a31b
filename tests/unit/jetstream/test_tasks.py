"""Limits of time for code that swallows cancellations."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from mpchat.jetstream.tasks import stop, within


async def stubborn(times: int) -> str:
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
    return "done all the same"


@pytest.mark.parametrize("times", [1, 3])
async def test_what_swallows_cancellations_ends(times: int) -> None:
    with pytest.raises(TimeoutError):
        await within(0.01, stubborn(times))
    task = asyncio.ensure_future(stubborn(times))
    await asyncio.sleep(0)
    await stop(task)
    assert task.done()


async def test_a_cancellation_from_outside_is_not_swallowed() -> None:
    task = asyncio.ensure_future(within(3600, stubborn(2)))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_whoever_is_cancelled_again_still_ends_what_it_waits_for() -> None:
    inner = asyncio.ensure_future(stubborn(3))
    outer = asyncio.ensure_future(stop(inner))
    for _ in range(3):
        await asyncio.sleep(0)
        outer.cancel()
    await asyncio.wait({outer})
    assert outer.cancelled()
    assert inner.done()


async def test_what_ends_in_time_returns_or_raises() -> None:
    assert await within(3600, asyncio.sleep(0, "x")) == "x"

    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await within(3600, fail())
