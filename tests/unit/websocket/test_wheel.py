"""The wheel expires everything once, in time, and never early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

from mpchat.websocket.thresholds import Thresholds
from mpchat.websocket.wheel import Wheel
from tests.unit.websocket.rig import until

THRESHOLDS = Thresholds()
TICK = THRESHOLDS.tick_seconds


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
    wheel = Wheel(loop, THRESHOLDS)
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


class Expiring:
    """Does something when it is told."""

    def __init__(self, expire: Callable[[], None]) -> None:
        self.wheel_tick = 0
        self.expire = expire


async def test_others_have_their_turn_between_many_that_expire_together() -> None:
    loop = asyncio.get_running_loop()
    wheel = Wheel(loop, THRESHOLDS)
    told: list[None] = []
    turns = [0]

    def count_turns() -> None:
        turns.append(len(told))
        if len(told) < 100:
            loop.call_soon(count_turns)

    for _ in range(100):
        wheel.set(Expiring(lambda: told.append(None)), 0)
    loop.call_soon(count_turns)
    await until(lambda: len(told) == 100)
    assert max(after - before for before, after in pairwise(turns)) == THRESHOLDS.max_expired


async def test_one_that_fails_does_not_stop_the_wheel() -> None:
    loop = asyncio.get_running_loop()
    wheel = Wheel(loop, THRESHOLDS)
    told: list[None] = []
    errors: list[str] = []
    loop.set_exception_handler(lambda _loop, context: errors.append(str(context["exception"])))

    def fail() -> None:
        raise RuntimeError("mistaken")

    for expire in (fail, fail, lambda: told.append(None)):
        wheel.set(Expiring(expire), 0)
    await until(lambda: len(told) == 1 and len(errors) == 2)
    wheel.set(Expiring(lambda: told.append(None)), 0)
    await until(lambda: len(told) == 2)
    assert errors == ["mistaken"] * 2
