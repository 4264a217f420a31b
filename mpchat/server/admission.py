"""Admission: the limits of the listener, of the service and of each handler.

Rules. A limit covers the whole service: every worker publishes its counts in the scoreboard, and a worker
that decides adds them up. A handshake is counted before the decision, so that workers that decide at the
same moment never admit too many together; a refused one is taken back, counted by its limit, and gets
503. Rates are counted in seconds of the system's clock, the same in all workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import LIMITS
from mpchat.scoreboard.addresses import hash_address
from mpchat.server.board import ServiceBoard
from mpchat.server.options import ListenerOptions
from mpchat.websocket.client import Client

_REFUSALS = {
    "MPCHAT_LIMITS.max_connections": "too many connections to the service",
    "MPCHAT_LIMITS.max_connections_per_address": "too many connections from this address",
    "MPCHAT_LIMITS.max_messages_per_second": "too many messages per second",
    "max_requests_in_flight": "too many connections to this handler",
    "max_requests_per_second": "too many handshakes per second",
}
"""The reason for refusing a handshake, by the limit that it exceeds."""


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
        self._options = options
        self._snapshot = snapshot
        self._clock = clock
        self._key = board.scoreboard.address_key
        self._indexes = {handler.name: index for index, handler in enumerate(handlers)}

    def admits_socket(self, own: int, waiting: int) -> bool:
        """Return whether the listener admits a new socket, which ``own`` and ``waiting`` include."""
        board = self._board
        board.row.set("sockets", own)
        self.show_waiting(waiting)
        name = self._socket_limit(own)
        if name is not None:
            board.row.count_limit(name)
        return name is None

    def show_waiting(self, waiting: int) -> None:
        """Publish at once how many sockets wait here: each may make other workers refuse one."""
        self._board.row.set("waiting", waiting)

    def admit(self, handler: HandlerBase, client: Client) -> str | None:
        """Count a handshake and return None, or return why it is refused; ``release`` uncounts it."""
        second = int(self._clock())
        index = self._indexes[handler.name]
        self._count(index, client.key, 1)
        self._board.row.count_handshake(index, second, 1)
        name = self._handshake_limit(handler, client.key, second)
        if name is None:
            return None
        self._board.row.count_handshake(index, second, -1)
        self._count(index, client.key, -1)
        self._board.row.count_limit(name)
        return _REFUSALS[name]

    def release(self, handler: HandlerBase, client: Client) -> None:
        """Uncount a connection that has ended, or a handshake that failed."""
        self._count(self._indexes[handler.name], client.key, -1)

    def _socket_limit(self, own: int) -> str | None:
        """Return the limit, one of LIMITS, that the newest socket exceeds."""
        board, slots, options = self._board.scoreboard, self._board.slots, self._options
        if board.total("sockets", slots) > options.max_connections:
            return "listener.max_connections"
        if _over(options.max_connections_per_worker, lambda: own):
            return "listener.max_connections_per_worker"
        if _over(options.max_handshakes, lambda: board.total("waiting", slots)):
            return "listener.max_handshakes"
        return None

    def _handshake_limit(self, handler: HandlerBase, key: bytes | None, second: int) -> str | None:
        """Return the limit, one of LIMITS, that a handshake exceeds."""
        board, slots, limits = self._board.scoreboard, self._board.slots, self._snapshot()[LIMITS]
        index, options = self._indexes[handler.name], handler.options
        if _over(limits.max_connections, lambda: board.total("admitted", slots)):
            return "MPCHAT_LIMITS.max_connections"
        if key is not None and _over(
            limits.max_connections_per_address, lambda: self._board.connections_of(self._hash(key))
        ):
            return "MPCHAT_LIMITS.max_connections_per_address"
        most = limits.max_messages_per_second
        if most is not None and board.in_second("messages_in_second", slots, second) >= most:
            return "MPCHAT_LIMITS.max_messages_per_second"
        if _over(options.max_requests_in_flight, lambda: board.handler_connections(index, slots)):
            return "max_requests_in_flight"
        if _over(
            options.max_requests_per_second,
            lambda: board.handler_handshakes(index, slots, second),
        ):
            return "max_requests_per_second"
        return None

    def _count(self, index: int, key: bytes | None, change: int) -> None:
        self._board.row.count_connection(index, change)
        if key is not None:
            self._board.own_addresses.add(self._hash(key), change)

    def _hash(self, key: bytes) -> int:
        return hash_address(key, self._key)


def _over(limit: int | None, used: Callable[[], int]) -> bool:
    """Return whether the newest one, which ``used`` includes, exceeds a limit."""
    return limit is not None and used() > limit
