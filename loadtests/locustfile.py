"""Scenarios against the echo; choose by class name on locust's command line, all by default.

locust -f loadtests/locustfile.py --host ws://localhost:8080/chat PingPong Burst
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from locust import between, constant, task

sys.path.insert(0, str(Path(__file__).parent))

from websocket_user import WebSocketUser

_numbers = itertools.count()


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
