"""What can go wrong with a room, as authors see it."""

from __future__ import annotations

from mpchat.errors import MpchatError


class RoomError(MpchatError):
    """Base of the errors of rooms."""


class Unavailable(RoomError):
    """The broker has not answered in time: a message may be stored or not; repeat it with the same id."""


class RoomClosed(RoomError):
    """The room was closed, by ``Rooms.close`` or ``DELETE``, after this member had joined."""


class NoSuchRoom(RoomError):
    """There is no room of this name: nobody is in it, and it has no history."""


class Behind(RoomError):
    """A member that iterates over a room has missed messages: it may join again with its position."""


class TooManyRooms(RoomError):
    """There are ``max-rooms`` rooms, or the connection is in ``max-rooms-per-connection``."""


class TooManyMembers(RoomError):
    """The rooms of the service have ``max-members`` members."""


class TooManyMessages(RoomError):
    """The connection has published more than ``publish-rate``; nothing was sent."""


class TooLarge(RoomError):
    """The message does not fit into the history."""
