"""Passes accepted sockets on to other slots, so that all slots have about the same number.

Rules. The kernel deals connections by their addresses, regardless of the workers' load. A worker that has
more than its fair share passes an accepted socket to the slot with the fewest, before it has read a byte.
The socket goes into that slot's inbox, from which the slot's worker or its helper takes it for good. If
the inbox is full, the socket stays here. A slot gets none while its worker does not accept or its loop
does not beat. The scoreboard is read rarely enough to cost one or two hundredths of a handshake.
"""

from __future__ import annotations

import array
import fcntl
import heapq
import socket
import sys
import termios
import time
from collections.abc import Callable

from mpchat.scoreboard.heartbeat import SILENT_SECONDS
from mpchat.scoreboard.scoreboard import ROWS
from mpchat.server.accepted import Accepted
from mpchat.server.board import ServiceBoard

_LOOK_SECONDS = 0.05
"""Seconds after which the numbers of other slots are read again."""
_SLOTS_PER_ACCEPT = 2
"""Slots that may be read for each accepted connection; one takes 1 to 2 µs."""
_TOLERANCE = 1 / 32
"""Fraction of its fair share that a worker may have in addition, since passing on costs time."""
_TOLERATED = 4
"""Sockets that it may have in addition to both."""


class Balance:
    """One worker's view of the numbers of all slots."""

    def __init__(
        self, board: ServiceBoard, slot: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._board = board
        self._slot = slot
        self._clock = clock
        self._outboxes: dict[int, socket.socket] = {}
        self._next_look = 0.0
        self._accepted = 0
        """Sockets since the scoreboard was last read"""
        self._fair = 0.0
        self._most = 0
        """Sockets that this worker keeps"""
        self._packet_bytes = _packet_bytes()
        self._emptier: list[tuple[int, int]] = []
        """Slots below their fair share, a heap of (sockets, slot)"""

    def add(self, slot: int, outbox: socket.socket) -> None:
        """Also pass sockets on to this slot."""
        self._outboxes[slot] = outbox

    def outboxes(self) -> list[socket.socket]:
        """Return the sockets through which clients are passed on."""
        return list(self._outboxes.values())

    def pass_on(self, client: Accepted, own: int) -> bool:
        """Pass an accepted socket to another slot if this worker has enough, and then close it here.

        ``own`` is this worker's number of sockets without it.
        """
        if not self._outboxes:
            return False
        now = self._clock()
        self._accepted += 1
        if now >= self._next_look or self._accepted * _SLOTS_PER_ACCEPT >= self._board.slots:
            self._next_look = now + _LOOK_SECONDS
            self._accepted = 0
            self._look(own, now)
        if own < self._most:
            return False
        while self._emptier and self._emptier[0][0] < self._fair:
            sockets, slot = self._emptier[0]
            if self._send(self._outboxes[slot], client):
                heapq.heapreplace(self._emptier, (sockets + 1, slot))
                client.close()
                return True
            heapq.heappop(self._emptier)
        return False

    def close(self) -> None:
        """Stop passing sockets on."""
        for outbox in self._outboxes.values():
            outbox.close()
        self._outboxes.clear()
        self._emptier.clear()

    def _look(self, own: int, now: float) -> None:
        board, slots = self._board.scoreboard, self._board.slots
        sockets = board.column("sockets", slots)
        accepting = board.column("accepting", slots)
        beats = board.column("beat_at", slots)
        oldest = int((now - SILENT_SECONDS) * 1000)
        loads: dict[int, int] = {}
        for row, accepts in enumerate(accepting):
            if accepts and beats[row] >= oldest:
                first = row - row % ROWS
                loads[row // ROWS] = sum(sockets[first : first + ROWS])
        fair = self._fair = sum(sockets) / max(len(loads), 1)
        # Another worker of this slot that retires holds a part of the slot's share.
        others = loads.pop(self._slot, own) - own
        self._most = max(0, int(fair + fair * _TOLERANCE) + _TOLERATED - others)
        self._emptier = []
        if own >= self._most:
            self._emptier = [
                (load + self._waiting(self._outboxes[slot]), slot)
                for slot, load in loads.items()
                if load < fair and slot in self._outboxes
            ]
            heapq.heapify(self._emptier)

    def _waiting(self, outbox: socket.socket) -> int:
        """Return how many sockets wait in an inbox, from all workers; its slot does not count them."""
        size = fcntl.ioctl(outbox, termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(size, sys.byteorder) // self._packet_bytes

    @staticmethod
    def _send(outbox: socket.socket, client: Accepted) -> bool:
        rights = array.array("i", [client.fileno()])
        try:
            outbox.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except OSError:
            # The inbox is full, or nobody can read it any more.
            return False
        return True


def _packet_bytes() -> int:
    """Return the bytes that the kernel counts for one waiting packet (unix(7), SIOCOUTQ)."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        near.send(b".")
        return int.from_bytes(fcntl.ioctl(near, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
