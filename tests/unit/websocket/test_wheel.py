"""The wheel expires everything once, in time, and never early."""

from __future__ import annotations

import asyncio

from mpchat.websocket.wheel import TICK, Wheel


class Member:
    def __init__(self, wheel: Wheel, told: list[tuple[str, float]], name: str) -> None:
        self.wheel_tick = 0
        self.wheel, self.told, self.name = wheel, told, name
        self.again = 0
        self.done = asyncio.Event()

    def expire(self) -> None:
        self.told.append((self.name, asyncio.get_running_loop().time()))
        if self.again:
            self.again -= 1
            self.wheel.set(self, 0)
        else:
            self.done.set()


async def test_expiry_order_replacement_and_discard() -> None:
    loop = asyncio.get_running_loop()
    wheel = Wheel(loop)
    told: list[tuple[str, float]] = []
    begun = loop.time()
    late, soon, moved, gone, twice = (
        Member(wheel, told, name) for name in ("late", "soon", "moved", "gone", "twice")
    )
    wheel.set(late, 5 * TICK)
    wheel.set(soon, TICK)
    wheel.set(gone, TICK)
    wheel.set(moved, 100)
    wheel.set(moved, 3 * TICK)
    twice.again = 1
    wheel.set(twice, TICK)
    wheel.discard(gone)
    wheel.discard(gone)
    await asyncio.wait_for(late.done.wait(), 30)
    names = [name for name, _time in told]
    assert sorted(names) == ["late", "moved", "soon", "twice", "twice"]
    assert names.index("soon") < names.index("moved") < names.index("late")
    times = dict(told)
    assert times["soon"] - begun >= TICK
    assert times["late"] - begun >= 5 * TICK
