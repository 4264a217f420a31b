"""The worker's side of rooms: its parts, and what every member needs of them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from mpchat.ipc.asking import MAX_BODY_BYTES
from mpchat.ipc.rooms import FROM_MEMBER, MAX_USER_BYTES
from mpchat.rooms.errors import TooLarge
from mpchat.rooms.link import Link
from mpchat.rooms.member import Member
from mpchat.rooms.options import RoomsOptions
from mpchat.rooms.publishing import Answer, Publish, Publishing
from mpchat.rooms.registry import Registry
from mpchat.rooms.subscription import Subscription
from mpchat.websocket.broadcast import Hall
from mpchat.websocket.shared import Shared

LIMIT = 10.0
"""Seconds for an answer to a question, over which another broker may take the place of one."""


class Side:
    """One for each worker.

    Attributes:
        link, registry, publishing: See their modules.
        options: Those of the component.
        limit: Seconds for an answer to a question.
        token: This worker's own, see Hello.
        count_limit: See Shared.
        clock: Seconds, for rates.
    """

    def __init__(self, shared: Shared, options: RoomsOptions, limit: float = LIMIT) -> None:
        loop = shared.loop
        hall = Hall(shared.turn, options.member_backlog)
        self.options = options
        self.limit = limit
        self.token = secrets.randbits(64)
        self.count_limit: Callable[[str], None] = shared.count_limit
        self.clock: Callable[[], float] = shared.clock
        self.link = Link(loop, hall, options.worker_backlog)
        self.publishing = Publishing(loop, self.link, options.publish_timeout, self.count_limit)
        self._delivery = shared.counters.histograms.delivery
        hall.on_delivered = self._delivered
        self.registry = Registry(self.link, hall, self.publishing, self.count_limit)
        self.link.begin(self.registry)

    def _delivered(self, stamp: int) -> None:
        """Note how long a message took from its record, whose milliseconds are of the same clock."""
        self._delivery.observe(max(0, int(self.clock() * 1000) - stamp) * 1000)

    def close(self) -> None:
        """The worker ends."""
        self.publishing.end()
        self.link.close()

    def leave(self, member: Member) -> None:
        """A member leaves by itself, or its connection has ended."""
        self.registry.leave(member)

    def forget(self, member: Member) -> None:
        """A member has to leave with all others: the broker knows."""
        self.registry.forget(member)

    def wake(self, member: Member) -> Subscription:
        """Return the room of a member that rests."""
        return self.registry.wake(member)

    def publish(
        self,
        room: bytes,
        kind: int,
        payload: bytes,
        user: bytes,
        client: str,
        name: str | None,
        answer: Answer,
        *,
        as_member: bool,
    ) -> None:
        """Publish a message of ``user``; see ``Publishing.begin``.

        Raises:
            TooLarge: The message is larger than any that is stored.
        """
        key = b"" if name is None else key_of(room, user, client, name)
        size = len(room) + len(user) + len(key) + len(payload)
        if size > (self.registry.largest or MAX_BODY_BYTES):
            raise TooLarge("the message does not fit into the history")
        flags = kind | FROM_MEMBER if as_member else kind
        self.publishing.begin(Publish(room, payload, flags, user, key), answer)


def key_of(room: bytes, user: bytes, client: str, name: str) -> bytes:
    """Return what the broker compares in place of a message's id, which is the client's own."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (room, user, client.encode(), name.encode()):
        digest.update(len(part).to_bytes(4, "little") + part)
    return digest.digest()


def user_of(user: str | None) -> bytes:
    """Return a user as it travels.

    Raises:
        ValueError: The name is too long to be stored.
    """
    encoded = (user or "").encode()
    if len(encoded) > MAX_USER_BYTES:
        raise ValueError(f"expected a user of at most {MAX_USER_BYTES} bytes")
    return encoded
