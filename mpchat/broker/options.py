"""What limits a broker: the options of rooms that it needs, in its own units."""

from __future__ import annotations

from dataclasses import dataclass

from mpchat.broker.reading import Limits


@dataclass(frozen=True)
class BrokerOptions:
    """The limits of all rooms.

    Attributes:
        history: How far a room's history reaches back.
        max_rooms: Rooms with members or history.
        max_members: Memberships in all rooms.
        worker_backlog: Bytes held for a worker that does not read.
        publish_timeout: Seconds after which a publish that has no answer is given up.
        presence: Members with info are listed, and told of each other.
    """

    history: Limits
    max_rooms: int
    max_members: int
    worker_backlog: int
    publish_timeout: float
    presence: bool
