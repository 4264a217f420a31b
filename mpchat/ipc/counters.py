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
    "connections",  # open WebSocket connections
)


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
    connections: int

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)
