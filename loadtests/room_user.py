"""A locust user that is a member of rooms, in ``mpchat.room.v1``.

Rules. It publishes, and waits for the acknowledgement; it reads what comes, and has the ledger compare;
it loses a connection now and then, and comes back with the position. All of these are events of type
ROOM, and what is wrong is their failure.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import room_ledger
from locust import User
from websocket_user import TIMEOUT, WebSocketConnection, WebSocketFailure

SUBPROTOCOL = "mpchat.room.v1"


class RoomMember:
    """A member with its connection; ``ids`` are those of all messages of the client."""

    def __init__(
        self,
        base: str,
        ledger: room_ledger.Ledger,
        room: str,
        client: str,
        ids: Iterator[int],
    ) -> None:
        self._address = f"{base}/rooms/{room}?client={client}"
        self._room = room
        self._ledger = ledger
        self._ids = ids
        self._epoch = ""
        self._is_away = False
        self._at = 0
        self._answers: dict[str, dict[str, Any]] = {}
        self._connection, first = self._connect("")
        self._member = room_ledger.Member(ledger, room, first["offset"])

    def publish(self, data: str) -> None:
        """Publish, and wait for the acknowledgement."""
        name = str(next(self._ids))
        self._connection.send(json.dumps({"publish": name, "data": data}))
        end = time.monotonic() + TIMEOUT
        while name not in self._answers:
            if time.monotonic() > end:
                raise WebSocketFailure(f"{self._room}: no answer to a publish")
            self._take(self._connection.recv())
        answer = self._answers.pop(name)
        if "ack" not in answer:
            raise WebSocketFailure(f"{self._room}: refused: {answer}")
        self._ledger.acknowledged(self._room, answer["offset"])

    def read(self) -> int:
        """Read what is there, and compare; return how many messages were compared."""
        for message in self._connection.recv_all():
            self._take(message)
        return self._member.compare()

    def catch_up(self) -> int:
        """Read until all that is acknowledged by now has come, and compare."""
        if self._is_away:
            self.come_back()
        newest = self._ledger.newest(self._room)
        end = time.monotonic() + TIMEOUT
        while self._member.last < newest:
            if time.monotonic() > end:
                raise room_ledger.WrongDelivery(f"{self._room}: message {newest} did not come")
            self._take(self._connection.recv())
        return self.read()

    def come_back(self) -> None:
        """Lose the connection, and come back with the position."""
        self._is_away = True  # also if locust stops the user meanwhile
        self._connection.drop()
        self._answers.clear()
        position = f"{self._epoch}:{self._member.last}:{self._at}"
        self._connection, first = self._connect(f"&since={position}")
        if not first["recovered"]:
            raise WebSocketFailure(f"{self._room}: not recovered from {position}")
        self._is_away = False

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def drop(self) -> None:
        """Close the socket without a goodbye."""
        self._connection.drop()

    def _connect(self, since: str) -> tuple[WebSocketConnection, dict[str, Any]]:
        connection = WebSocketConnection(self._address + since, SUBPROTOCOL)
        first = json.loads(connection.recv())
        if not {"room", "epoch", "offset", "recovered"} <= set(first):
            connection.drop()
            raise WebSocketFailure(f"{self._room}: the first frame is {first}")
        self._epoch = first["epoch"]
        self._at = first["at"]
        return connection, first

    def _take(self, text: str | bytes) -> None:
        frame = json.loads(text)
        if "ack" in frame or "nack" in frame:
            self._answers[frame.get("ack", frame.get("nack"))] = frame
        elif "offset" in frame:
            self._member.sees(frame["offset"])
            self._at = frame["at"]


class RoomUser(User):
    """Base of the scenarios of rooms; ``host`` is that of the echo, of which the path is not used."""

    abstract = True
    host = "ws://localhost:8080/chat"
    ledger: room_ledger.Ledger

    def on_start(self) -> None:
        self.members: list[RoomMember] = []
        self._ids = itertools.count()
        self._client = "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=24))

    def on_stop(self) -> None:
        while self.members:
            member = self.members.pop()
            self.report("at the end", member.catch_up)
            self.report("leave", member.close)

    def join(self, rooms: list[str]) -> None:
        """Become a member of these rooms."""
        assert self.host is not None
        base = "{0.scheme}://{0.netloc}".format(urlsplit(self.host))
        for room in rooms:
            enter = partial(RoomMember, base, self.ledger, room, self._client, self._ids)
            member = self.report("join", enter)
            if member is not None:
                self.members.append(member)

    def report(self, name: str, action: Callable[[], Any]) -> Any:
        """Run an action and fire its request event; a failure ends the user's memberships."""
        begun = time.perf_counter()
        failure: Exception | None = None
        result = None
        try:
            result = action()
        except (OSError, WebSocketFailure, room_ledger.WrongDelivery) as error:
            failure = error
            for member in self.members:
                member.drop()
            self.members.clear()  # also for a loop over them: one failure is told once
        self.environment.events.request.fire(
            request_type="ROOM",
            name=name,
            response_time=(time.perf_counter() - begun) * 1000,
            response_length=result if isinstance(result, int) else 0,
            exception=failure,
            context={},
        )
        return result
