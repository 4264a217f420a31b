"""A broker that ends by itself at a planned point, as if it were killed there.

    python -m tests.unit.broker.killed HISTORY POINT TIMES SOCKET...

The descriptors are inherited. POINT is where it ends, at the time TIMES that it comes there: ``before`` a
write, ``within`` one (half of its bytes are there), ``stored`` (before any answer), ``answered`` (one
worker of several), ``never``.
"""

from __future__ import annotations

import os
import socket
import sys

import uvloop

from mpchat.broker.broker import Broker
from mpchat.broker.history import History
from mpchat.broker.pairs import Pair, connect
from mpchat.linux import system
from tests.unit.broker.rig import OPTIONS

KILLED = 9


def main(history: int, point: str, times: int, sockets: list[int]) -> None:
    count = 0
    write, send = system.pwrite, Pair.send

    def passes(here: str) -> bool:
        """Return whether this is where to end."""
        nonlocal count
        count += here == point
        return here == point and count == times

    def pwrite(descriptor: int, content: bytes, place: int) -> int:
        if passes("before"):
            os._exit(KILLED)
        if passes("within"):
            write(descriptor, content[: len(content) // 2], place)
            os._exit(KILLED)
        written = write(descriptor, content, place)
        if passes("stored"):
            os._exit(KILLED)
        return written

    def answer(pair: Pair) -> None:
        if passes("answered"):
            # What the loop would write a moment later.
            pair._sock.send(b"".join(pair.out))
            os._exit(KILLED)
        send(pair)

    log = History(history)
    setattr(system, "pwrite", pwrite)  # noqa: B010 - type checkers allow no assignment to a function
    setattr(Pair, "send", answer)  # noqa: B010 - nor to a method
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(lambda _loop, context: os.abort())
    broker = Broker(log, OPTIONS, loop.call_soon)
    for number, descriptor in enumerate(sockets, 1):
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        pair = Pair(broker, sock, number=number, incarnation=number, slot=0, backlog=1 << 20)
        broker.adopt(pair)
        loop.run_until_complete(connect(loop, pair, sock))
    loop.run_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), [int(one) for one in sys.argv[4:]])
