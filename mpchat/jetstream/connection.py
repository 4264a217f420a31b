"""The connection to NATS: one server at a time, another one after a loss, for ever.

Rules. Nothing waits for a reconnect: while the connection is down, to publish raises ConnectionLost. What
was sent before a loss may have come or not. Subscriptions stay, and are sent again before ``on_up``.
Callbacks are called in the loop; what they raise is the loop's. ``connect`` gives up, so that a start can
fail; later only ``close`` ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

try:
    from nats.aio.subscription import Subscription as Delivery
except ImportError as error:
    raise ImportError("rooms over NATS need nats-py: pip install 'mpchat[nats]'") from error

from mpchat.jetstream.errors import ConfigFault, ConnectionLost, TooLarge, Unavailable, Unreachable
from mpchat.jetstream.life import (
    MOST_PENDING,
    PING_INTERVAL,
    PING_LIMIT,
    Address,
    Events,
    Life,
    ServerInfo,
)
from mpchat.jetstream.messages import Message
from mpchat.jetstream.options import JetStreamOptions
from mpchat.jetstream.tasks import hand_over, stop

_LEAST_PAUSE, _MOST_PAUSE = 0.1, 5.0
_AT_ONCE = 500
"""Subscriptions that are sent before the server is waited for: a slow one is not one that is silent."""


def pause_before(round_number: int) -> float:
    """Return the seconds before all servers are tried once more; random, since all hosts lose one."""
    longest: float = min(_LEAST_PAUSE * 2**round_number, _MOST_PAUSE)
    return random.uniform(longest / 2, longest)


class Observer(Protocol):
    """What stands on the connection and has to know of losses before its callbacks do."""

    def lost(self, why: str) -> None:
        """No answer comes any more to what was sent."""

    def not_allowed(self, subject: str) -> bool:
        """Return whether it sent something to this subject, which is in lower case."""


class Subscription:
    """Messages of a subject, for as long as they are wanted.

    Attributes:
        delivery: Of the present life.
        is_allowed: False: the server has said no to this user.
    """

    def __init__(self, subject: str, callback: Callable[[Message], None]) -> None:
        self.subject = subject
        self.callback = callback
        self.life: Life | None = None
        self.delivery: Delivery | None = None
        self.is_allowed = True


class Connection:
    """The connection of one process.

    ``on_up`` is called after ``connect`` and after each reconnect, ``on_lost`` with the reason of a loss,
    ``on_error`` with words for an operator, and with the subject if it is about one: a subscription that
    is not allowed, messages of it that were dropped, a server that we cannot use.
    """

    def __init__(
        self,
        options: JetStreamOptions,
        *,
        on_up: Callable[[], None],
        on_lost: Callable[[str], None],
        on_error: Callable[[str, str | None], None],
        pause: Callable[[int], float] = pause_before,
        ping_interval: float = PING_INTERVAL,
        ping_limit: float = PING_LIMIT,
        most_pending: int = MOST_PENDING,
    ) -> None:
        self._options = options
        self._on_up = on_up
        self._on_lost = on_lost
        self._on_error = on_error
        self._pause = pause
        self._pings = ping_interval, ping_limit
        self._most_pending = most_pending
        self._observers: list[Observer] = []
        self._subscriptions: dict[Subscription, None] = {}
        self._life: Life | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._why = "not connected yet"
        self._configured = [Address(url) for url in options.servers]
        random.shuffle(self._configured)
        self._found: list[Address] = []

    def observe(self, observer: Observer) -> None:
        """Tell an observer of losses and of what is not allowed, from now on."""
        self._observers.append(observer)

    @property
    def is_up(self) -> bool:
        """Whether something can be sent now."""
        return self._life is not None and not self._life.lost.done()

    @property
    def server(self) -> ServerInfo | None:
        """Whom we are connected to; None while it is down."""
        return self._life.server if self._life is not None else None

    @property
    def max_payload(self) -> int:
        """Bytes of a message with its headers that the server takes; 0 while it is down."""
        return self._life.max_payload if self._life is not None else 0

    async def connect(self, limit: float) -> None:
        """Connect to one of the servers.

        Args:
            limit: Seconds for that.

        Raises:
            ConfigFault: No server lets us in, and one of them says that this is our fault.
            Unreachable: None could be reached in time.
        """
        failures: dict[str, str] = {}
        try:
            async with asyncio.timeout(limit):
                life = await self._first(failures)
        except TimeoutError as error:
            text = "; ".join(failures.values()) or f"no server has answered within {limit:g} s"
            raise Unreachable(f"cannot connect to NATS: {text}") from error
        self._keeper = asyncio.get_running_loop().create_task(self._keep(life))
        self._keeper.add_done_callback(hand_over)
        self._up(life)

    async def close(self) -> None:
        """Disconnect for good; nothing is called back any more."""
        if self._keeper is not None:
            await stop(self._keeper)
        if (life := self._life) is not None:
            self._life = None
            self._why = "the connection was closed"
            for observer in self._observers:
                observer.lost(self._why)
            await life.end()

    def leave(self, why: str) -> None:
        """Lose the connection, and connect to another server if there is one."""
        if self._life is not None:
            self._life.finish(why)

    async def subscribe(self, subject: str, callback: Callable[[Message], None]) -> Subscription:
        """Have ``callback`` called with each message of a subject.

        While the connection is down this is done with the next one. It is sent, not done, when this
        returns: see ``flush``, and what is said of the barrier.
        """
        subscription = Subscription(subject, callback)
        self._subscriptions[subscription] = None
        if (life := self._life) is not None:
            # If it was lost, the next one has it.
            with contextlib.suppress(ConnectionLost):
                await self._send(subscription, life)
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; its callback is not called any more."""
        self._subscriptions.pop(subscription, None)
        life, delivery = subscription.life, subscription.delivery
        subscription.life = subscription.delivery = None
        if life is not None and delivery is not None and not life.lost.done():
            await life.unsubscribe(delivery)

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a message; nobody says whether it came.

        Raises:
            ConnectionLost: It is down. The message was not sent.
            TooLarge: The server would end the connection.
        """
        life = self._alive()
        size = len(payload) + size_of(headers)
        if size > life.max_payload:
            text = f"a message of {size} bytes; {life.address.url} takes {life.max_payload}"
            raise TooLarge(f"{text} (max_payload)")
        await life.publish(subject, payload, reply, headers)

    async def flush(self) -> None:
        """Wait until the server has dealt with all that was sent.

        Raises:
            ConnectionLost: It is down, or does not answer within seconds.
        """
        await self._alive().flush()

    def _alive(self) -> Life:
        life = self._life
        if life is None or life.lost.done():
            why = self._why if life is None else life.lost.result()
            raise ConnectionLost(f"the connection to NATS is down: {why}")
        return life

    async def _first(self, failures: dict[str, str]) -> Life:
        number = 0
        while True:
            fault: ConfigFault | None = None
            for address in self._addresses():
                try:
                    return await self._begin(address)
                except ConfigFault as error:
                    fault = error
                except Unavailable as error:
                    failures[address.url] = str(error)
            if fault is not None:
                raise fault
            await asyncio.sleep(self._pause(number))
            number += 1

    async def _keep(self, life: Life) -> None:
        while True:
            self._why = await life.lost
            self._life = None
            for observer in self._observers:
                observer.lost(self._why)
            self._on_lost(self._why)
            await life.end()
            life = await self._next(life.address)
            self._up(life)

    async def _next(self, last: Address) -> Life:
        number = 0
        told: set[str] = set()
        while True:
            await asyncio.sleep(self._pause(number))
            number += 1
            # The one that was lost comes last.
            addresses = sorted(self._addresses(), key=lambda found: found.url == last.url)
            for address in addresses:
                try:
                    return await self._begin(address)
                except Unavailable as error:
                    self._why = str(error)
                except ConfigFault as error:
                    self._why = str(error)
                    if self._why not in told:
                        told.add(self._why)
                        self._on_error(self._why, None)

    def _addresses(self) -> list[Address]:
        known = {urlsplit(found.url).netloc for found in self._configured}
        found = [other for other in self._found if urlsplit(other.url).netloc not in known]
        random.shuffle(found)
        return self._configured + found

    async def _begin(self, address: Address) -> Life:
        events = Events(self._dropped, self._not_allowed, lambda: self._leaving(life))
        life = Life(address, self._options, events, *self._pings)
        begun = False
        try:
            await life.begin()
            # Others may subscribe and unsubscribe meanwhile.
            while missing := [found for found in self._subscriptions if found.life is not life]:
                for subscription in missing[:_AT_ONCE]:
                    if subscription in self._subscriptions:
                        await self._send(subscription, life)
                await life.flush()
            begun = True
        finally:
            if not begun:
                await life.end()
        return life

    async def _send(self, subscription: Subscription, life: Life) -> None:
        subscription.life = life
        subscription.is_allowed = True
        delivery = await life.subscribe(
            subscription.subject, subscription.callback, self._most_pending
        )
        if subscription in self._subscriptions:
            subscription.delivery = delivery
        else:
            await life.unsubscribe(delivery)

    def _up(self, life: Life) -> None:
        self._life = life
        self._found = life.others
        self._on_up()

    def _leaving(self, life: Life) -> None:
        # Where there is no other server, this one is good until it ends.
        if len(self._addresses()) > 1:
            life.finish(f"{life.address.url} is about to stop")

    def _dropped(self, subject: str) -> None:
        self._on_error("messages were dropped: this process does not keep up", subject)

    def _not_allowed(self, subject: str) -> None:
        asked = [observer.not_allowed(subject) for observer in self._observers]
        if not any(asked):
            refused = [found for found in self._subscriptions if found.subject.lower() == subject]
            for subscription in refused:
                subscription.is_allowed = False
            for name in {found.subject for found in refused} or {subject}:
                self._on_error(f"the user's permissions at NATS lack {name}", name)


def size_of(headers: Mapping[str, str] | None) -> int:
    """Return how many bytes headers take in a message."""
    if headers is None:
        return 0
    lines = sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())
    return len("NATS/1.0\r\n\r\n") + lines
