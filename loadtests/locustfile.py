"""Scenarios against the echo and rooms; choose by class name on locust's command line, all by default.

locust -f loadtests/locustfile.py --host ws://localhost:8080/chat PingPong Room
"""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

from locust import between, constant, task

sys.path.insert(0, str(Path(__file__).parent))

from room_ledger import Ledger
from room_user import RoomUser
from websocket_user import WebSocketUser

_numbers = itertools.count()
_ledger = Ledger()


class PingPong(WebSocketUser):
    """One message at a time, as a chat does."""

    weight = 5
    wait_time = between(0.05, 0.15)

    @task
    def ping_pong(self) -> None:
        self.echo("ping-pong", [f"message {next(_numbers)}"])


class Burst(WebSocketUser):
    """Many messages in flight, some of them large."""

    weight = 1
    wait_time = between(0.5, 1.5)

    @task
    def burst(self) -> None:
        number = next(_numbers)
        self.echo("burst", [f"{number} {index} " + "x" * (index * 100) for index in range(32)])


class IdleCrowd(WebSocketUser):
    """Connected, and nearly silent."""

    weight = 10
    wait_time = constant(0)

    @task
    def idle(self) -> None:
        if self.connection is None:
            self.connect()
        connection = self.connection
        if connection is not None:
            self.report("idle", lambda: connection.wait(5))


class Reconnect(WebSocketUser):
    """Connects, says one thing, leaves."""

    weight = 2
    wait_time = between(0.2, 0.6)

    @task
    def reconnect(self) -> None:
        self.echo("reconnect", ["hello"])
        self.disconnect()


class Room(RoomUser):
    """A member of several rooms, which have other members: each message comes to each exactly once."""

    weight = 3
    wait_time = between(0.2, 0.6)
    ledger = _ledger
    rooms = tuple(f"load-{number}" for number in range(20))
    most = 4

    def on_start(self) -> None:
        super().on_start()
        self.join_some()

    def join_some(self) -> None:
        self.join(random.sample(self.rooms, random.randint(1, self.most)))

    @task(8)
    def talk(self) -> None:
        for member in self.members:
            self.report("read", member.read)
        if not self.members:
            self.join_some()
            return
        member = random.choice(self.members)
        self.report("publish", lambda: member.publish(f"message {next(_numbers)}"))

    @task(1)
    def come_back(self) -> None:
        if self.members:
            self.report("come back", random.choice(self.members).come_back)
