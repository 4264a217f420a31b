"""Random schedules of workers, members, deaths and brokers: the promises of rooms hold in each.

`SCHEDULES=1000` in the environment tries as many of each kind.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat import FORM
from tests.chaos import rooms_judge as judge
from tests.chaos.rooms_judge import Kept
from tests.chaos.sightings import Notes
from tests.unit.rooms.stage import Stage

WORKERS, MEMBERS = 3, 6
KIB = 1024
SIZE = 2048 * KIB - 256 * KIB
"""Bytes that the broker of the stage keeps for certain: all segments but the one begun anew."""

EXAMPLES = int(os.environ.get("SCHEDULES", "10"))
STEPS = 250
WEIGHTS = {
    "say": 16,
    "say_once": 4,
    "come": 12,
    "cut": 4,
    "doubt": 3,
    "ask": 12,
    "listen": 12,
    "turn": 12,
    "second": 2,
    "stop": 3,
    "read": 5,
    "connect": 6,
    "kill worker": 1,
    "kill broker": 2,
    "pump": 8,
}
"""What happens, and how often of all that does."""


async def play(seed: int, payload: int, history: int) -> Notes:
    chance = random.Random(seed)
    stage = Stage(WORKERS, MEMBERS, payload, history)
    for what in chance.choices([*WEIGHTS], [*WEIGHTS.values()], k=STEPS):
        client, worker = chance.choice(stage.clients), chance.choice(stage.workers)
        pair = worker.pair
        match what:
            case "say" | "say_once" | "cut" | "doubt":
                getattr(client, what)()
            case "come":
                client.come(chance.randrange(WORKERS))
            case "ask" | "listen":
                getattr(worker, what)(chance.randint(1, 6))
            case "turn":
                stage.rig.once()
            case "second":
                stage.rig.now += 1.0
                stage.rig.broker.second()
            case "stop" if pair is not None:
                pair.wire.is_stopped = True
            case "read" if pair is not None and pair.wire.is_stopped:
                pair.wire.go_on(chance.choice([None, 100, 10_000, 300_000]))
            case "connect" if pair is None or chance.random() < 0.1:
                worker.connect()
            case "kill worker":
                stage.kill_worker(stage.workers.index(worker))
            case "kill broker":
                stage.kill_broker(chance.randint(0, 6))
            case "pump":
                stage.pump()
        await stage.spin()
    await stage.settle()
    await stage.ask_all()
    await stage.close()
    return stage.notes


def listed_wrongly(notes: Notes) -> list[str]:
    """At the end, when nothing is on its way any more, exactly those are listed who are there."""
    there = {visit.number: visit.room for visit in notes.visits if visit.stayed}
    return [
        f"{answer.room} has {sorted(answer.listed)}"
        for answer in notes.answers
        if sorted(answer.listed) != [number for number in there if there[number] == answer.room]
    ]


@pytest.mark.skipif(FORM.compiled, reason="a member of the stage is no compiled WebSocket")
@pytest.mark.parametrize(
    ("payload", "history"), [(10, 1000), (10, 3), (5000, 1000), (100_000, 1000)]
)
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=EXAMPLES)
def test_the_promises_hold(payload: int, history: int, seed: int) -> None:
    notes = asyncio.run(play(seed, payload, history))
    kept = Kept(history, SIZE)
    assert (
        judge.one_order(notes)
        + judge.none_missed(notes)
        + judge.none_doubled(notes, kept)
        + judge.told_truly(notes, kept)
        + judge.in_publishers_order(notes, kept)
        + judge.first_answer_stands(notes, kept)
        + judge.all_acknowledged(notes)
        + judge.all_back(notes)
        + listed_wrongly(notes)
    ) == []


@pytest.mark.skipif(not FORM.compiled, reason="the others have run")
def test_the_promises_hold_with_interpreted_websockets() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "MPCHAT_COMPILED": "0"}
    ended = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout
