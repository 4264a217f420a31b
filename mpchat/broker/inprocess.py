"""A broker in the process of its worker: for tests without processes, and for a service in one process.

Rules. The code is that of the broker's process, in whichever event loop it is given. There is one worker,
and one pair at a time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from mpchat.broker.broker import Broker
from mpchat.broker.pairs import Pair, connect
from mpchat.broker.process import history_of, options_of
from mpchat.ipc.messages import BrokerPair
from mpchat.rooms.options import RoomsOptions

_SECOND = 1.0
"""Seconds between two marks."""


class InProcessBroker:
    """A broker in an event loop.

    Attributes:
        broker: Its core.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: RoomsOptions, history: int | None
    ) -> None:
        """Recover from ``history``, a file in memory that the caller owns; None: without history."""
        self._loop = loop
        self._backlog = options.worker_backlog
        self._has_ended = False
        self.broker = Broker(history_of(history, options), options_of(options), self._call_soon)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pairs = 0
        self._timer = loop.call_later(_SECOND, self._second)

    def connect(self, incarnation: int = 1) -> tuple[BrokerPair, socket.socket]:
        """Return a pair to this broker, in place of any older one: what a worker is told, and its end."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        near.setblocking(False)
        self._pairs += 1
        pair = Pair(
            self.broker,
            near,
            number=self._pairs,
            incarnation=incarnation,
            slot=0,
            backlog=self._backlog,
        )
        self.broker.adopt(pair)
        task = self._loop.create_task(connect(self._loop, pair, near))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return BrokerPair(self._pairs, incarnation), far

    def close(self) -> None:
        """End, as a broker's process does that is killed."""
        self._has_ended = True
        self._timer.cancel()
        for pair in list(self.broker.pairs.values()):
            self.broker.lose(pair, "")

    def _call_soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        self._loop.call_soon(self._call, callback, *arguments)

    def _call(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Do what was to be done, unless the broker has ended meanwhile: the history may be closed."""
        if not self._has_ended:
            callback(*arguments)

    def _second(self) -> None:
        self.broker.second()
        self._timer = self._loop.call_later(_SECOND, self._second)
