"""The counters that change with every message, so that they cost no more than an addition each."""

from __future__ import annotations

from mpchat.scoreboard.histogram import Histogram


class Traffic:
    """Messages of one handler in one worker, and the bytes of their payloads.

    Attributes:
        sizes: The distribution of received messages by size, that of all handlers of the worker.
    """

    __slots__ = ("bytes_received", "bytes_sent", "messages_received", "messages_sent", "sizes")

    def __init__(self, sizes: Histogram) -> None:
        self.messages_received = self.messages_sent = 0
        self.bytes_received = self.bytes_sent = 0
        self.sizes = sizes
