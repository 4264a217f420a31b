"""A worker's counters: plain integers, changed only by the thread that owns them.

The order of the names is the order of the items in a scoreboard row, so both ends of the shared
memory read the same table. Totals only grow; gauges rise and fall, and end with their worker.
"""

from __future__ import annotations

TOTALS = (
    "accepted",  # sockets taken from a listening socket
    "passed_on",  # accepted sockets that went to a slot with fewer
    "refused",  # sockets and handshakes turned away by a limit
    "requests",  # plain HTTP requests answered
    "handshakes",  # WebSocket connections opened
    "closed",  # WebSocket connections that ended in any way
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
    "waiting",  # open client sockets that are not WebSockets, or not yet
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
    # Sockets that were ended: with 408, or without an answer if the client had sent nothing
    "handshake-timeout",
    "body-timeout",
    # WebSocket connections that were ended
    "max-remote-payload",
    "max-messages-per-second",
    "max-bytes-per-second",
    "max-control-frames-per-second",
    "message-timeout",
    "idle-timeout",
    "ping-timeout",
    "write-timeout",
    # Pauses in accepting, for lack of descriptors or memory
    "descriptors",
)
"""Totals of the sockets and connections that each limit refused or ended, by the limit's option. These
events are rare, so each is written to the scoreboard at once and costs frequent events nothing."""


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
