"""The rooms of a service in one process: their broker runs in the stand-in's loop, beside the worker's.

Rules. All methods are for the thread of that loop. A debugger that holds the worker holds no broker.
"""

from __future__ import annotations

import asyncio
import os
import time

from mpchat.broker.inprocess import InProcessBroker
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel
from mpchat.ipc.reports import send_report
from mpchat.rooms.options import RoomsOptions
from mpchat.scoreboard.broker import BROKER_STATES
from mpchat.scoreboard.scoreboard import Scoreboard


class LocalBroker:
    """The broker of the one worker at the other end of ``channel``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: RoomsOptions,
        history: int | None,
        board: Scoreboard,
        channel: Channel,
    ) -> None:
        self._board = board
        self._channel = channel
        self._broker = InProcessBroker(loop, options, history)
        self._reports: set[asyncio.Task[None]] = set()
        for name, value in (
            ("state", BROKER_STATES.index("ready")),
            ("pid", os.getpid()),
            ("since", _milliseconds()),
        ):
            board.set_broker(name, value)

    def connect(self) -> None:
        """Give the worker a pair, in place of any older one."""
        pair, end = self._broker.connect()
        with end:
            messages.send(self._channel, pair, [end.fileno()])

    def show(self) -> None:
        """Store what status shows of the broker."""
        self._board.set_broker("beat_at", _milliseconds())
        for name, value in self._broker.broker.status().items():
            self._board.set_broker(name, value)

    def report(self, report: messages.ReportRooms, descriptor: int) -> None:
        """Send the list of rooms, and close the descriptor."""
        rows = self._broker.broker.busiest(report.by, report.limit)
        task = asyncio.create_task(send_report(descriptor, rows))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    def close(self) -> None:
        """End; the worker reads end of file."""
        self._broker.close()


def _milliseconds() -> int:
    return int(time.monotonic() * 1000)
