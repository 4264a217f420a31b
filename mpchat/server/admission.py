"""Admission: the limits of the listener, of the service and of each handler.

Rules. A limit covers the whole service: every worker publishes its counts in the scoreboard, and a worker
that decides adds them up. A handshake, or a request to an HTTP handler, is counted before the decision,
so that workers that decide at the same moment never admit too many together; a refused one is taken back
and counted by its limit. Rates are counted in seconds of the system's clock, the same in all workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import LIMITS
from mpchat.scoreboard.handlers import Served
from mpchat.scoreboard.hashed import hash_name
from mpchat.server.board import ServiceBoard
from mpchat.server.options import ListenerOptions
from mpchat.websocket.client import Client, client_of
from mpchat.websocket.handler import WebsocketHandlerBase

_REFUSALS = {
    "MPCHAT_LIMITS.max_connections": "too many connections to the service",
    "MPCHAT_LIMITS.max_connections_per_address": "too many connections from this address",
    "MPCHAT_LIMITS.max_messages_per_second": "too many messages per second",
    "listener.max_connections_per_user": "too many connections of this user",
    "max_connections_per_user": "too many connections of this user to this handler",
    "max_requests_in_flight": "too many connections to this handler",
    "max_requests_per_second": "too many handshakes per second",
}
"""The reason for refusing a handshake, by the limit that it exceeds."""
_REQUEST_REFUSALS = {
    "max_requests_in_flight": "too many requests to this handler at once",
    "max_requests_per_second": "too many requests per second",
}
"""The same for a plain request."""
_OF_HANDLER = {
    "max_requests_in_flight": "too_many_in_flight",
    "max_requests_per_second": "too_many_per_second",
}
"""What a refusal counts as for the handler, by the limit."""


class _Limited(NamedTuple):
    """A handler, as its limits see it."""

    number: int
    """Its place in the scoreboard"""
    max_in_flight: int | None
    max_per_second: int | None


class Admission:
    """Decides about sockets and handshakes, and counts the admitted ones."""

    def __init__(
        self,
        board: ServiceBoard,
        handlers: Sequence[HandlerBase],
        options: ListenerOptions,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._board = board
        # Options are models of pydantic, which take long to find an attribute.
        self._ipv6_prefix = options.ipv6_prefix
        self._max_connections = options.max_connections
        self._max_of_worker = options.max_connections_per_worker
        self._max_waiting = options.max_handshakes
        self._max_of_user = options.max_connections_per_user
        self._max_of_user_by_handler = {
            handler.name: handler.options.max_connections_per_user
            for handler in handlers
            if isinstance(handler, WebsocketHandlerBase)
        }
        self._snapshot = snapshot
        self._clock = clock
        self._key = board.scoreboard.hash_key
        # Both are this worker's own.
        self._row, self._addresses = board.row, board.own_addresses
        served = [
            Served(handler.name, handler.options.path, isinstance(handler, WebsocketHandlerBase))
            for handler in handlers
        ]
        self._limited = {
            handler.name: _Limited(
                number,
                handler.options.max_requests_in_flight,
                handler.options.max_requests_per_second,
            )
            for number, handler in zip(board.number(served), handlers, strict=True)
        }

    def admits_socket(self, own: int, waiting: int) -> bool:
        """Return whether the listener admits a new socket, which ``own`` and ``waiting`` include."""
        self._row.set("sockets", own)
        self.show_waiting(waiting)
        name = self._socket_limit(own)
        if name is not None:
            self._row.count_limit(name)
        return name is None

    def show_waiting(self, waiting: int) -> None:
        """Publish at once how many sockets wait here: each may make other workers refuse one."""
        self._row.set("waiting", waiting)

    def admit(self, handler: HandlerBase, client: Client) -> str | None:
        """Count a handshake and return None, or return why it is refused; ``release`` uncounts it."""
        limited = self._limited[handler.name]
        self._count(limited.number, client, 1)
        name = self._admit(limited, lambda second: self._handshake_limit(limited, client, second))
        if name is None:
            return None
        self._count(limited.number, client, -1)
        self._refuse(limited, name)
        return _REFUSALS[name]

    def admit_request(self, handler: HandlerBase) -> str | None:
        """Do the same for a request to an HTTP handler; ``release_request`` uncounts it."""
        limited = self._limited[handler.name]
        self._row.count_request(limited.number, 1)
        if limited.max_in_flight is None and limited.max_per_second is None:
            return None
        name = self._admit(limited, lambda second: self._handler_limit(limited, second))
        if name is None:
            return None
        self._row.count_request(limited.number, -1)
        self._refuse(limited, name)
        return _REQUEST_REFUSALS[name]

    def release_request(self, handler: HandlerBase) -> None:
        """Uncount a request that has been answered."""
        self._row.count_request(self._limited[handler.name].number, -1)

    def answered(self, handler: HandlerBase | None, status: int) -> None:
        """Count an answer of a handler, or of none."""
        number = 0 if handler is None else self._limited[handler.name].number
        self._row.count_answer(number, status)

    def throttled(self, handler: HandlerBase) -> None:
        """Count a request of a handler that congestion control refuses."""
        number = self._limited[handler.name].number
        self._row.count_limit("congestion-control")
        self._row.count_of_handler(number, "too_many_per_second")

    def opened(self, handler: HandlerBase) -> None:
        """Count a WebSocket connection that is open."""
        self._row.count_of_handler(self._limited[handler.name].number, "opened")

    def release(self, handler: HandlerBase, client: Client) -> None:
        """Uncount a connection that has ended, or a handshake that failed."""
        self._count(self._limited[handler.name].number, client, -1)

    def admit_user(self, handler: HandlerBase, user: str) -> str | None:
        """Count a user's handshake and return None, or return why it is refused.

        ``release_user`` uncounts it.
        """
        counted = self._counted(handler, user)
        for hashed, _most, _name in counted:
            self._board.count_user(hashed, 1)
        for hashed, most, name in counted:
            if self._board.connections_of_user(hashed) > most:
                self.release_user(handler, user)
                self._row.count_limit(name)
                return _REFUSALS[name]
        return None

    def release_user(self, handler: HandlerBase, user: str) -> None:
        """Uncount a user's connection that has ended, or a handshake that failed."""
        for hashed, _most, _name in self._counted(handler, user):
            self._board.count_user(hashed, -1)

    def _admit(self, limited: _Limited, limit: Callable[[int], str | None]) -> str | None:
        """Count one in this second and return None, or return the limit that it exceeds with it."""
        second = int(self._clock())
        while True:
            self._row.count_handshake(limited.number, second, 1)
            name = limit(second)
            if name is not None:
                self._row.count_handshake(limited.number, second, -1)
                return name
            counted_in, second = second, int(self._clock())
            if second == counted_in:
                return None
            # Others may have begun to count the next second before their counts of this one were read.
            self._row.count_handshake(limited.number, counted_in, -1)

    def _counted(self, handler: HandlerBase, user: str) -> list[tuple[int, int, str]]:
        """Return how a user is counted: hash, most and limit of the listener, and of the handler."""
        found = []
        for scope, most, name in (
            ("", self._max_of_user, "listener.max_connections_per_user"),
            (
                handler.name,
                self._max_of_user_by_handler.get(handler.name),
                "max_connections_per_user",
            ),
        ):
            if most is not None:
                # No name of a handler has a zero byte, nor is it empty.
                text = f"{scope}\0{user}".encode("utf-8", "surrogatepass")
                found.append((hash_name(text, self._key), most, name))
        return found

    def client(self, name: Any) -> Client:
        """Return the client with this name: what ``getpeername`` returns, or host and port."""
        return client_of(name, self._ipv6_prefix, self._key)

    def _socket_limit(self, own: int) -> str | None:
        """Return the limit, one of LIMITS, that the newest socket exceeds."""
        board = self._board
        if board.total("sockets") > self._max_connections:
            return "listener.max_connections"
        if self._max_of_worker is not None and own > self._max_of_worker:
            return "listener.max_connections_per_worker"
        if self._max_waiting is not None and board.total("waiting") > self._max_waiting:
            return "listener.max_handshakes"
        return None

    def _handshake_limit(self, handler: _Limited, client: Client, second: int) -> str | None:
        """Return the limit, one of LIMITS, that a handshake exceeds; it is counted already."""
        board, limits = self._board, self._snapshot()[LIMITS]
        most = limits.max_connections
        if most is not None and board.total("admitted") > most:
            return "MPCHAT_LIMITS.max_connections"
        most, hashed = limits.max_connections_per_address, client.hashed
        if most is not None and hashed is not None and board.connections_of(hashed) > most:
            return "MPCHAT_LIMITS.max_connections_per_address"
        most = limits.max_messages_per_second
        if most is not None and board.messages_in(second) >= most:
            return "MPCHAT_LIMITS.max_messages_per_second"
        return self._handler_limit(handler, second)

    def _handler_limit(self, handler: _Limited, second: int) -> str | None:
        """Return the limit of a handler, one of LIMITS, that is exceeded with what has been counted."""
        board = self._board
        most = handler.max_in_flight
        if most is not None and board.handler_connections(handler.number) > most:
            return "max_requests_in_flight"
        most = handler.max_per_second
        if most is not None and board.handler_handshakes(handler.number, second) > most:
            return "max_requests_per_second"
        return None

    def _refuse(self, handler: _Limited, name: str) -> None:
        self._row.count_limit(name)
        if name in _OF_HANDLER:
            self._row.count_of_handler(handler.number, _OF_HANDLER[name])

    def _count(self, number: int, client: Client, change: int) -> None:
        self._row.count_connection(number, change)
        if client.hashed is not None:
            self._addresses.add(client.hashed, change)
