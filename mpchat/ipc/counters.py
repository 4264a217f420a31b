"""What a worker counts: plain integers, changed by the one thread that owns them.

The order of the names is the order of the items in a scoreboard row, so both ends of the shared
memory read the same table. Totals only grow; gauges go up and down and end with their worker.
"""

from __future__ import annotations

TOTALS = (
    "accepted",  # sockets taken from a listening socket
    "passed_on",  # of these: handed to a slot that had fewer
    "refused",  # sockets and handshakes turned away by a limit
    "requests",  # plain HTTP requests answered
    "handshakes",  # WebSocket connections opened
    "closed",  # WebSocket connections that ended, in whatever way
    "log_lines_dropped",
    "messages_received",
    "messages_sent",
    "bytes_received",  # payload bytes of those messages
    "bytes_sent",
)
TRAFFIC = 4
"""The last of them, which change with every message"""
GAUGES = (
    "sockets",  # open client sockets, plain HTTP included
    "waiting",  # of these: no WebSocket, or not yet
    "connections",  # open WebSocket connections
)

LIMITS = (
    # Sockets and handshakes that got 503
    "listener.max_connections",
    "listener.max_connections_per_worker",
    "listener.max_handshakes",
    "MPCHAT_LIMITS.max_connections",
    "MPCHAT_LIMITS.max_connections_per_address",
    "MPCHAT_LIMITS.max_messages_per_second",
    "max_requests_in_flight",
    "max_requests_per_second",
    # Sockets that were ended: 408, or nothing where nothing had been said
    "handshake-timeout",
    "body-timeout",
    # WebSocket connections that were ended, for what their client did or did not do
    "max-remote-payload",
    "max-messages-per-second",
    "max-bytes-per-second",
    "max-control-frames-per-second",
    "message-timeout",
    "idle-timeout",
    "ping-timeout",
    "write-timeout",
    # Moments in which no socket could be accepted, for want of descriptors or memory
    "descriptors",
)
"""Totals of what each limit turned away or ended, by the option that sets it. Rare, so each is written to
the scoreboard when it happens, and whatever happens often pays nothing for them."""


class Counters:
    """The counters of one worker process; the names are those of TOTALS and GAUGES."""

    __slots__ = TOTALS + GAUGES

    accepted: int
    passed_on: int
    refused: int
    requests: int
    handshakes: int
    closed: int
    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int
    log_lines_dropped: int
    sockets: int
    waiting: int
    connections: int

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)
