"""The counters that change with every message, so that they cost no more than an addition each."""

from __future__ import annotations


class Traffic:
    """Messages of one handler in one worker, and the bytes of their payloads."""

    __slots__ = ("bytes_received", "bytes_sent", "messages_received", "messages_sent")

    def __init__(self) -> None:
        self.messages_received = self.messages_sent = 0
        self.bytes_received = self.bytes_sent = 0
