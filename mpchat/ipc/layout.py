"""A number for what processes of one service have to agree on: the messages and the scoreboard.

Rules. Computed from the definitions, so nobody has to remember to change it. The supervisor keeps its
code for as long as the service lives, while a restart brings new code into all others: a template whose
number is another one says so instead of being misunderstood.
"""

from __future__ import annotations

import zlib
from dataclasses import fields
from typing import get_args

from mpchat.ipc import scoreboard
from mpchat.ipc.messages import Message


def _layout() -> int:
    messages = [
        (cls.__name__, [(item.name, str(item.type)) for item in fields(cls)])
        for cls in get_args(Message)
    ]
    board = (scoreboard.MAGIC, scoreboard.SERVICE_NAMES, scoreboard.SLOT_NAMES, scoreboard.NAMES)
    return zlib.crc32(repr((messages, board, scoreboard.WORKER_STATES)).encode())


LAYOUT = _layout()
