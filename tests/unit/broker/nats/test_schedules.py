"""Random schedules of hosts, workers, members, and of what a stream and the way there can do.

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
from tests.unit.broker.nats import clock
from tests.unit.broker.nats.stage import HostStage
from tests.unit.rooms.test_schedules import listed_wrongly

HOSTS, WORKERS, MEMBERS = 3, 4, 6
KEPT = Kept(1000, 1 << 40)
EXAMPLES = int(os.environ.get("SCHEDULES", "5"))
STEPS = 200
WEIGHTS = {
    "say": 20,
    "say_once": 4,
    "come": 12,
    "cut": 4,
    "doubt": 3,
    "ask": 12,
    "listen": 12,
    "wait": 8,
    "stop": 2,
    "read": 5,
    "connect": 6,
    "kill worker": 1,
    "kill host": 2,
    "weather": 4,
    "lag": 2,
    "lose": 3,
    "no leader": 1,
    "cut off": 1,
    "pump": 12,
}
"""What happens, and how often of all that does."""


async def play(notes: list[Notes], seed: int, payload: int, expiring: bool) -> None:
    chance = random.Random(seed)
    stage = HostStage(chance, HOSTS, WORKERS, MEMBERS, payload)
    stream, loop = stage.scene.stream, asyncio.get_running_loop()

    def lead() -> None:
        stream.has_leader = True

    for what in chance.choices([*WEIGHTS], [*WEIGHTS.values()], k=STEPS):
        client, worker = chance.choice(stage.clients), chance.choice(stage.workers)
        host, pair = chance.choice(stage.hosts), worker.pair
        match what:
            case "say" | "say_once" | "cut" | "doubt":
                getattr(client, what)()
            case "come":
                client.come(chance.randrange(WORKERS))
            case "ask" | "listen":
                getattr(worker, what)(chance.randint(1, 6))
            case "wait":
                await asyncio.sleep(chance.choice([0.01, 0.1, 1.0]))
            case "stop" if pair is not None:
                pair.wire.is_stopped = True
            case "read" if pair is not None and pair.wire.is_stopped:
                pair.wire.go_on(chance.choice([None, 100, 10_000, 300_000]))
            case "connect" if pair is None or chance.random() < 0.1:
                worker.connect()
            case "kill worker":
                stage.kill_worker(stage.workers.index(worker))
            case "kill host":
                stage.kill_host(host, chance.randint(0, 6))
            case "weather":
                stage.weather.change()
                if expiring and chance.random() < 0.5:
                    stream.expire(stream.last_seq - chance.choice([0, 0, 1, 5]))
            case "lag":
                host.line.has = None if host.line.has is not None else stream.last_seq
            case "lose":
                host.line.lose(chance.choice([0.01, 0.5, 3.0]))
            case "no leader":
                stream.has_leader = False
                loop.call_later(chance.choice([0.1, 2.0, 6.0]), lead)
            case "cut off":
                host.line.cut_off()
            case "pump":
                stage.pump()
        await stage.spin()
    await stage.settle()
    await stage.ask_all()
    await stage.close()
    notes.append(stage.notes)


def wrong_in(notes: Notes, *, expiring: bool) -> list[str]:
    """Return what does not hold."""
    found = (
        judge.one_order(notes)
        + judge.none_missed(notes)
        + judge.none_doubled(notes, KEPT)
        + judge.in_publishers_order(notes, KEPT)
        + judge.first_answer_stands(notes, KEPT)
        + judge.all_back(notes)
        + listed_wrongly(notes)
        + [f"{one.message} was never answered" for one in notes.publishes if not one.acks]
        + [
            f"{one.message} was refused: {refusal.reason}"
            for one in notes.publishes
            for refusal in one.refusals
            if refusal.reason != "Unavailable"
        ]
    )
    # What expires makes gaps, which a member is told of.
    return found if expiring else found + judge.told_truly(notes, KEPT)


@pytest.mark.skipif(FORM.compiled, reason="a member of the stage is no compiled WebSocket")
@pytest.mark.parametrize("expiring", [False, True])
@pytest.mark.parametrize("payload", [10, 5000])
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=EXAMPLES)
def test_the_promises_hold_over_hosts(expiring: bool, payload: int, seed: int) -> None:
    notes: list[Notes] = []
    clock.run(play(notes, seed, payload, expiring))
    assert wrong_in(notes[0], expiring=expiring) == []


@pytest.mark.skipif(not FORM.compiled, reason="the others have run")
def test_the_promises_hold_with_interpreted_websockets() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    root = Path(__file__).parents[4]
    environment = {**os.environ, "MPCHAT_COMPILED": "0"}
    ended = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout
