"""The clock of a test."""

from __future__ import annotations

import asyncio

import pytest

from mpchat.testing import Clock


async def test_what_is_due_happens_in_order_at_its_time() -> None:
    clock = Clock()
    begin = clock.time()
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, clock.time() - begin))

    def again() -> None:
        note("again")
        clock.call_at(clock.time() + 1, lambda: note("later"))

    clock.call_at(begin + 3, lambda: note("third"))
    clock.call_at(begin + 1, again)
    clock.call_at(begin + 2.5, lambda: note("cancelled")).cancel()
    clock.call_at(begin + 9, lambda: note("not yet"))
    await asyncio.sleep(0)
    assert seen == []
    await clock.advance(5)
    assert [(name, round(at, 3)) for name, at in seen] == [("again", 1), ("later", 2), ("third", 3)]
    assert all(at >= due for (_name, at), due in zip(seen, (1, 2, 3), strict=True))
    assert clock.time() - begin == 5


async def test_a_timeout_goes_by_it() -> None:
    clock = Clock()

    async def wait() -> None:
        async with clock.timeout(10):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await clock.advance(9.9)
    assert not waiting.done()
    await clock.advance(0.2)
    with pytest.raises(TimeoutError):
        await waiting
    async with clock.timeout(10):
        pass
    await clock.advance(100)
