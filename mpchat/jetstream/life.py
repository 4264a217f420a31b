"""One life of a connection: from the login at one server until that is lost, for whatever reason.

Rules. nats-py speaks the protocol. It does not reconnect: after most errors that a server can send, it
would end for good. It is pinged by us, and its socket is aborted: on a server that stands still its own
pings end in a close that waits for that server. A ping that was given up would break its reader when the
answer comes, so a life ends with the first one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as Delivery

from mpchat.errors import describe_os_error
from mpchat.jetstream.errors import (
    ConnectionLost,
    LoginRefused,
    VersionTooOld,
)
from mpchat.jetstream.login import Login, read_login, refusal
from mpchat.jetstream.messages import Message
from mpchat.jetstream.options import JetStreamOptions
from mpchat.jetstream.subjects import INBOX
from mpchat.jetstream.tasks import hand_over, stop, within

LEAST_VERSION = 2, 11
"""Older servers know no batches of Direct Get: they answer wrongly, or never."""
PING_INTERVAL, PING_LIMIT = 2.0, 3.5
"""Seconds between two pings, and for the answer to one."""
MOST_PENDING = 16 * 1024 * 1024
"""Bytes that wait in one subscription for the loop; what comes then is dropped, and told."""
_CLOSING = 1.0
"""Seconds for a connection to close in order."""
_NEVER = 10**9
"""Seconds: a limit of nats-py's that is ours to keep."""
_ENDED = (
    nats.errors.ConnectionClosedError,
    nats.errors.OutboundBufferLimitError,
    OSError,
    RuntimeError,
)
"""What nats-py raises without a connection; the last is uvloop's."""

_VERSION = re.compile(r"(\d+)\.(\d+)\.")
_NOT_ALLOWED = re.compile(r'permissions violation for (?:publish|subscription) to "([^"]*)"')


class Address(NamedTuple):
    """Where a server is.

    Attributes:
        name: Whose certificate it has to have, if its cluster named it by a number.
    """

    url: str
    name: str | None = None


class ServerInfo(NamedTuple):
    """Whom we are connected to."""

    name: str
    version: str
    url: str


class Events(NamedTuple):
    """What a life tells, in the loop.

    Attributes:
        dropped: A message of this subject came and was dropped: the loop is behind.
        not_allowed: The user may not publish or subscribe to this subject: it is in lower case, as
            nats-py tells it.
        leaving: The server is about to stop.
    """

    dropped: Callable[[str], None]
    not_allowed: Callable[[str], None]
    leaving: Callable[[], None]


class Life:
    """A connection to one server.

    Attributes:
        lost: Done with the reason when the connection is lost, or was ended.
    """

    def __init__(
        self,
        address: Address,
        options: JetStreamOptions,
        events: Events,
        ping_interval: float = PING_INTERVAL,
        ping_limit: float = PING_LIMIT,
    ) -> None:
        self.address = address
        self._options = options
        self._events = events
        self._ping_interval, self._ping_limit = ping_interval, ping_limit
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self._client = Client()
        self._was_called = False
        self._guard: asyncio.Task[None] | None = None
        self._last_error = ""
        self._pongs: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Connect and log in. Whatever it raises, the life has to be ended.

        Raises:
            LoginRefused: Wrong credentials, or a wrong certificate.
            VersionTooOld: Not a server for us.
            Unreachable: It cannot be reached, or does not answer in time.
        """
        login = read_login(self._options, self._confide)
        url = self.address.url
        try:
            await within(self._options.connect_timeout, self._connect(login))
        except (OSError, nats.errors.Error) as error:
            raise refusal(url, error, self._last_error) from error
        if not self._is_encrypted:
            raise LoginRefused(f"{url} does not encrypt: its address says that it has to")
        version = self.server.version
        found = _VERSION.match(version)
        if found is None or (int(found[1]), int(found[2])) < LEAST_VERSION:
            text = "expected nats-server 2.11 or newer: update it, or take it out of the servers"
            raise VersionTooOld(f"{url} is version {version}: {text}")
        self._guard = self._loop.create_task(self._watch())
        self._guard.add_done_callback(hand_over)

    async def _connect(self, login: Login) -> None:
        self._was_called = True
        await self._client.connect(
            servers=[self.address.url],
            name="mpchat",
            tls=login.context,
            tls_hostname=self.address.name,
            allow_reconnect=False,
            # A server that cannot be reached is tried twice, at once.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=_NEVER,
            ping_interval=_NEVER,
            # Nothing is kept for later: whoever publishes has to know that the connection is down.
            pending_size=0,
            inbox_prefix=INBOX,
            error_cb=self._on_error,
            closed_cb=self._on_closed,
            lame_duck_mode_cb=self._on_leaving,
            **login.arguments,
        )

    def _confide(self, secret: str) -> str:
        # Only nats-py knows that the server did not ask for encryption, and goes on without it.
        if not self._is_encrypted:
            text = "does not encrypt: it was told no password, since its address says tls"
            raise LoginRefused(f"{self.address.url} {text}")
        return secret

    @property
    def _is_encrypted(self) -> bool:
        """Whether the connection is as safe as its address says."""
        return urlsplit(self.address.url).scheme != "tls" or bool(self._said("tls_required"))

    def _said(self, name: str) -> Any:
        """Return what the server's last INFO said; nats-py keeps it to itself."""
        return self._client._server_info.get(name)

    @property
    def server(self) -> ServerInfo:
        """Whom we are connected to."""
        name, version = self._said("server_name"), self._said("version")
        return ServerInfo(str(name or ""), str(version or ""), self.address.url)

    @property
    def max_payload(self) -> int:
        """Bytes of a message with its headers beyond which the server ends the connection."""
        return self._client.max_payload

    @property
    def others(self) -> list[Address]:
        """The servers that this one has named."""
        scheme = urlsplit(self.address.url).scheme
        # Behind numbers is the certificate of the name that we know.
        name = self.address.name or urlsplit(self.address.url).hostname
        return [
            Address(f"{scheme}://{found.netloc}", name) for found in self._client.discovered_servers
        ]

    async def subscribe(
        self, subject: str, callback: Callable[[Message], None], most_pending: int
    ) -> Delivery:
        """Have ``callback`` called with each message of a subject, until the life ends.

        Raises:
            ConnectionLost: The life has ended.
        """

        async def deliver(message: Msg) -> None:
            if not self.lost.done():
                callback(Message(message.subject, message.data, message.headers or {}))

        try:
            return await self._client.subscribe(
                subject, cb=deliver, pending_msgs_limit=-1, pending_bytes_limit=most_pending
            )
        except _ENDED as error:
            raise self._end_of(error) from error

    async def unsubscribe(self, delivery: Delivery) -> None:
        """End a subscription; messages that have come and wait are dropped."""
        try:
            await delivery.unsubscribe()
        except _ENDED as error:
            # It has ended with the connection.
            self._end_of(error)

    async def publish(
        self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> None:
        """Send a message.

        Raises:
            ConnectionLost: The life has ended; the message was not sent.
        """
        try:
            await self._client.publish(
                subject, payload, reply, dict(headers) if headers is not None else None
            )
        except _ENDED as error:
            raise self._end_of(error) from error

    async def flush(self) -> None:
        """Wait until the server has dealt with all that was sent.

        Raises:
            ConnectionLost: It does not answer.
        """
        pong = self._loop.create_task(self._ping())
        self._pongs.add(pong)
        pong.add_done_callback(self._pongs.discard)
        # Who waits may give up; the ping may not.
        waiting: set[asyncio.Future[Any]] = {pong, self.lost}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if self.lost.done():
            raise ConnectionLost(self.lost.result())

    async def _ping(self) -> None:
        try:
            # Not ``flush``, which does not wait for the answer if nobody reads any more.
            await within(self._ping_limit, self._client.rtt(_NEVER))
        except TimeoutError:
            self.finish(f"{self.address.url} does not answer")
        except _ENDED as error:
            self._end_of(error)

    async def _watch(self) -> None:
        while not self.lost.done():
            await asyncio.sleep(self._ping_interval)
            await self._ping()

    def finish(self, why: str) -> None:
        """Say that the life is over."""
        if not self.lost.done():
            self.lost.set_result(why)

    async def end(self) -> None:
        """Close the connection, or abort it if it cannot be closed in order."""
        self.finish("the connection was closed")
        try:
            for task in (self._guard, *self._pongs):
                if task is not None:
                    await stop(task)
            if self._was_called:
                await within(_CLOSING, self._client.close())
        except (*_ENDED, TimeoutError):
            # What was still to be sent cannot be, or would wait for a server that stands still.
            pass
        finally:
            self._abort()

    def _abort(self) -> None:
        # A transport that waits for a server would outlive its connection; nats-py has no way to it.
        transport = self._client._transport
        writer = getattr(transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    def _end_of(self, error: Exception) -> ConnectionLost:
        self.finish(self._last_error or str(error).removeprefix("nats: "))
        return ConnectionLost(self.lost.result())

    async def _on_closed(self) -> None:
        self.finish(self._last_error or str(self._client.last_error or "the server closed it"))

    async def _on_leaving(self) -> None:
        self._events.leaving()

    async def _on_error(self, error: Exception) -> None:
        """Take what nats-py reports: losses, refusals, and our own mistakes in callbacks."""
        match error:
            case nats.errors.SlowConsumerError():
                self._events.dropped(error.subject)
            case nats.errors.UnexpectedEOF():
                self._last_error = "the server closed the connection"
            case OSError():
                self._last_error = describe_os_error(error)
            case nats.errors.Error():
                text = str(error).removeprefix("nats: ")
                if found := _NOT_ALLOWED.search(text):
                    self._events.not_allowed(found[1])
                else:
                    self._last_error = text
            case _:
                context = {"message": "a callback of a subscription failed", "exception": error}
                self._loop.call_exception_handler(context)
