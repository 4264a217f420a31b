"""The context of a connection or request: what its handler may know besides the messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol

from mpchat.components.identity import Identity
from mpchat.dynamic_config.snapshot import Snapshot

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


_NO_TAGS: frozenset[str] = frozenset()


class Connection(Protocol):
    """What ends when its identity expires."""

    def follow_expires(self) -> None:
        """Another ``expires`` counts from now on."""


class Context:
    """The context of one connection or plain request, which lives as long as that does.

    Attributes:
        id: The name of the connection or request in the log.
        stopping: An ``asyncio.Event``, set when the worker begins to end: start nothing long after it.
        path_params: Values of ``{name}`` parts of the path, percent-decoded.
        remote_address: The client's address, as ``remote_address`` of the connection.
    """

    # Rare parts are made on first use: ten thousand idle connections have a context each.
    __slots__ = (
        "_connection",
        "_data",
        "_identity",
        "_response_headers",
        "_snapshot",
        "_transport",
        "id",
        "path_params",
        "remote_address",
        "stopping",
    )

    def __init__(
        self,
        name: str,
        stopping: asyncio.Event,
        snapshot: Callable[[], Snapshot],
        remote_address: tuple[Any, ...] | None,
        transport: asyncio.BaseTransport | None = None,
    ) -> None:
        self.id = name
        self.stopping = stopping
        self.path_params = _NO_PARAMS
        self.remote_address = remote_address
        self._snapshot = snapshot
        self._data: dict[str, Any] | None = None
        self._response_headers: list[tuple[str, str]] | None = None
        self._identity: Identity | None = None
        self._connection: Connection | None = None
        self._transport = transport

    @property
    def identity(self) -> Identity | None:
        """Who the connection or request belongs to, an ``Identity``; None if nobody knows.

        The checkers of the option ``auth`` set it. ``handle_handshake`` or ``handle`` may set it, too.
        """
        return self._identity

    @identity.setter
    def identity(self, identity: Identity | None) -> None:
        self._identity = identity
        if self._connection is not None:
            self._connection.follow_expires()

    @property
    def user(self) -> str | None:
        """The name of the user, ``identity.user``; None if nobody knows."""
        return self._identity.user if self._identity is not None else None

    @property
    def tags(self) -> frozenset[str]:
        """The tags of the user, ``identity.tags``."""
        return self._identity.tags if self._identity is not None else _NO_TAGS

    @property
    def expires(self) -> float | None:
        """When the identity expires, in seconds since 1970; None: never.

        A connection is then closed with 4401. To renew it, set a later time.

        Raises:
            RuntimeError: Set without an identity.
        """
        return self._identity.expires if self._identity is not None else None

    @expires.setter
    def expires(self, expires: float | None) -> None:
        if self._identity is None:
            raise RuntimeError("set context.identity first: nobody's identity cannot expire")
        self.identity = replace(self._identity, expires=expires)

    @property
    def peer_certificate(self) -> dict[str, Any] | None:
        """The client's certificate, which was verified, as ``ssl.SSLSocket.getpeercert`` returns it.

        None unless the listener has ``tls.ca``, and from the end of the connection on. Each look makes a
        new dict, which takes a tenth of a millisecond.
        """
        if self._transport is None:
            return None
        found: dict[str, Any] | None = self._transport.get_extra_info("peercert")
        return found or None

    def belongs_to(self, connection: Connection | None) -> bool:
        """Have a connection follow ``expires``, until None is given; return whether it is set."""
        self._connection = connection
        return self._identity is not None and self._identity.expires is not None

    @property
    def data(self) -> dict[str, Any]:
        """A dict for the author; the server never reads it."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def response_headers(self) -> list[tuple[str, str]]:
        """A list of names with values, added to the handshake's response."""
        if self._response_headers is None:
            self._response_headers = []
        return self._response_headers

    def added_headers(self) -> list[tuple[str, str]]:
        """Return what ``response_headers`` has: most connections add none, and keep no list for it."""
        return [] if self._response_headers is None else self._response_headers

    @property
    def config(self) -> Snapshot:
        """The current dynamic config: read it once per operation, and keep no value of it."""
        return self._snapshot()
