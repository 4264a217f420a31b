"""The worker's end of its pair to the broker, on the way from the channel to whoever serves the rooms.

Rules. A pair may come before there is anybody to take it, and a newer one ends an older one. No process
that is forked from the worker keeps it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeAlias

from mpchat.ipc.messages import BrokerPair
from mpchat.linux import system

Taker: TypeAlias = Callable[[BrokerPair, socket.socket], None]
"""Gets each pair with the worker's end, which is the taker's to close; an older one is void by then."""


class BrokerPairs:
    """The newest pair of one worker.

    Attributes:
        lost: To be called with the number of a pair that broke, though the broker may live.
    """

    def __init__(self, lose: Callable[[int], None]) -> None:
        """``lose`` asks whoever made a pair for another one, see PairLost."""
        self.lost = lose
        self._taker: Taker | None = None
        self._newest: tuple[BrokerPair, socket.socket] | None = None

    def arrived(self, message: BrokerPair, descriptors: list[int]) -> None:
        """Take a pair from the supervisor; without a free descriptor there is none, and another comes."""
        if not descriptors:
            self.lost(message.pair)
            return
        end = system.socket(fileno=descriptors[0])
        if self._newest is not None and self._taker is None:
            system.close_socket(self._newest[1])
        self._newest = (message, end)
        if self._taker is not None:
            self._taker(message, end)

    def follow(self, taker: Taker) -> None:
        """Pass on every pair from now on, beginning with the newest that has come."""
        self._taker = taker
        if self._newest is not None:
            taker(*self._newest)

    def held(self) -> list[int]:
        """Return the descriptor of the newest end while it is open."""
        end = self._newest[1].fileno() if self._newest is not None else -1
        return [end] if end >= 0 else []
