"""A number for everything that the processes of a service must agree on: messages, frames, scoreboard.

Rules. The number is computed from the definitions, so nobody has to remember to change it. The supervisor
keeps its code as long as the service lives, while a restart brings new code into all other processes: a
template with another number refuses instead of being misunderstood.
"""

from __future__ import annotations

import zlib
from dataclasses import fields
from typing import get_args

from mpchat.ipc import answering, asking, records, rooms
from mpchat.ipc.messages import Message
from mpchat.metrics import memory
from mpchat.scoreboard import broker, handlers, histograms, scoreboard, service


def _layout() -> int:
    messages = [
        (cls.__name__, [(item.name, str(item.type)) for item in fields(cls)])
        for cls in get_args(Message)
    ]
    board = (
        scoreboard.MAGIC,
        service.NAMES,
        scoreboard.SLOT_NAMES,
        broker.NAMES,
        handlers.NAMES,
        [(one.name, one.bounds) for one in histograms.TABLE],
        scoreboard.NAMES,
    )
    states = (scoreboard.WORKER_STATES, broker.BROKER_STATES, service.CONSOLE_STATES)
    numbers = [
        (name, value)
        for name, value in vars(rooms).items()
        if name.isupper() and type(value) is int
    ]
    frames = (records.HEADER.format, asking.FORM, answering.FORM, numbers)
    return zlib.crc32(repr((messages, board, states, memory.MAGIC, frames)).encode())


LAYOUT = _layout()
