"""Accepting from listening sockets that belong to the supervisor.

Rules. Our own loop around ``accept``, since libuv's resets queued clients when descriptors run out and
sets the backlog to 100. So many accepts a turn, then others get theirs. When the system refuses a
descriptor or memory, the queue is left alone for a moment: it keeps until we can.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable

_PER_TURN = 16
_PAUSE = 0.1
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = logging.getLogger("mpchat.server")


class Acceptor:
    """The listening sockets that this worker accepts from: a set that grows and shrinks."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_socket: Callable[[socket.socket], None]
    ) -> None:
        self._loop = loop
        self._on_socket = on_socket
        self._sockets: list[socket.socket] = []
        self._exhausted = False

    def add(self, sockets: Iterable[socket.socket]) -> None:
        """Accept from these, too."""
        for listening in sockets:
            listening.setblocking(False)
            self._sockets.append(listening)
            self._loop.add_reader(listening.fileno(), self._accept, listening, _PER_TURN)

    def remove(self, listening: socket.socket) -> None:
        """Accept from this one no longer and close our descriptor of it; what is queued stays queued."""
        self._sockets.remove(listening)
        self._loop.remove_reader(listening.fileno())
        listening.close()

    def leave(self) -> None:
        """Accept from none any longer; what is queued is a successor's or a sibling's."""
        for listening in list(self._sockets):
            self.remove(listening)

    def close(self) -> None:
        """Accept everything that is queued, then close our descriptors of the sockets."""
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            while self._accept(listening, _PER_TURN) == _PER_TURN:
                continue
            listening.close()
        self._sockets.clear()

    def _accept(self, listening: socket.socket, most: int) -> int:
        for count in range(most):
            try:
                client, _address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return count
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause(listening, error)
                return count
            if self._exhausted:
                self._exhausted = False
                log.warning("accepting again")
            client.setblocking(False)
            self._on_socket(client)
        return most

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        if not self._exhausted:
            self._exhausted = True
            log.error("cannot accept: %s; trying again every %g s", error.strerror, _PAUSE)
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(_PAUSE, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening, _PER_TURN)
