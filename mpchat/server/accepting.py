"""Accepting from listening sockets and inboxes that belong to the supervisor.

Rules. We loop around ``accept`` ourselves, since libuv resets queued clients when descriptors run out,
and sets the backlog to 100. Each turn accepts a few clients, within the common budget. When the system
refuses a descriptor or memory, accepting pauses, and the queue keeps its clients; ``hold`` has the same
effect for a busy worker. An inbox is a queue of
sockets that siblings have accepted. If a socket arrived while no descriptor is free, the kernel would
drop it, so a spare descriptor is kept.
"""

from __future__ import annotations

import array
import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mpchat.linux.descriptors import Spare
from mpchat.server.accepted import Accepted
from mpchat.websocket.budget import ACCEPT
from mpchat.websocket.turn import Turn

_PER_TURN = 4
"""Clients per turn and queue. A handshake costs fifty echoes: more would delay open connections."""
_PAUSE = 0.1
"""Seconds without accepting after a refusal of the system."""
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_DESCRIPTOR_BYTES = array.array("i").itemsize

_Accept = Callable[[], tuple[int, Any]]
"""Returns a descriptor and the address"""
_Take = Callable[[], tuple[Accepted | None, Any]]
"""Returns the next client with its address; None if there can be no other"""

log = logging.getLogger("mpchat.server")


class Acceptor:
    """The queues from which this worker takes clients; their set may change.

    ``on_socket`` gets each client with its address, None if a sibling has passed the client on.
    ``on_pause`` is called when the system refuses a client.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        on_socket: Callable[[Accepted, Any], None],
        on_pause: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._turn = turn
        self._on_socket = on_socket
        self._on_pause = on_pause
        self._sources: dict[socket.socket, _Take] = {}
        self._spare: Spare | None = None
        self._exhausted = False
        self._is_held = False

    def add(self, sources: Iterable[socket.socket]) -> None:
        """Also take clients from these listening sockets and inboxes."""
        for source in sources:
            if self._spare is None and _is_inbox(source):
                self._spare = Spare()
            source.setblocking(False)
            self._sources[source] = self._take_from(source)
            self._watch(source)

    def remove(self, source: socket.socket) -> None:
        """Stop taking clients from this queue, and close our descriptor; its clients stay queued."""
        del self._sources[source]
        self._loop.remove_reader(source.fileno())
        source.close()

    def leave(self) -> None:
        """Take no more clients; queued ones stay for the processes that share the sockets."""
        for source in list(self._sources):
            self.remove(source)

    def finish(self, most: int) -> None:
        """Take queued clients, at most ``most`` from each queue, then close the listening sockets.

        Without a limit this might never end, since new clients may come as fast as they are taken.
        Inboxes stay open: a sibling that does not yet know of the end may still put clients in.
        """
        for source in list(self._sources):
            left = most
            while left > 0 and self._accept(source, _PER_TURN) == _PER_TURN:
                left -= _PER_TURN
            if not _is_inbox(source):
                self.remove(source)

    def hold(self, seconds: float) -> None:
        """Take no client for so many seconds: the queues keep them, and siblings see full inboxes."""
        if not self._is_held:
            self._is_held = True
            for source in self._sources:
                self._loop.remove_reader(source.fileno())
            self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._is_held = False
        for source in self._sources:
            self._watch(source)

    def _watch(self, source: socket.socket) -> None:
        if not self._is_held:
            self._loop.add_reader(source.fileno(), self._on_readable, source)

    def _on_readable(self, source: socket.socket) -> None:
        if self._turn.left > 0:
            self._accept(source, _PER_TURN)
        else:
            self._loop.remove_reader(source.fileno())
            self._turn.line_up(self._turn.new_line, _Place(self, source))

    def serve(self, source: socket.socket) -> None:
        """Accept again: the queue's place in the line has come."""
        if source in self._sources and not self._is_held:
            self._watch(source)
            self._accept(source, _PER_TURN)

    def _accept(self, source: socket.socket, most: int) -> int:
        take = self._sources[source]
        for count in range(most):
            try:
                # The client's socket still blocks; connect_accepted_socket changes that.
                client, address = take()
            except (BlockingIOError, InterruptedError):
                return count
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause(source, error)
                return count
            if client is None:
                self.remove(source)
                return count
            if self._exhausted:
                self._exhausted = False
                log.warning("accepting again")
            self._turn.charge(ACCEPT)
            self._on_socket(client, address)
            if self._is_held:
                return count + 1
        return most

    def _take_from(self, source: socket.socket) -> _Take:
        """Return what takes the next client from this queue."""
        if _is_inbox(source):
            return lambda: (self._receive(source), None)
        # What accept() calls before it makes a socket.
        accept: _Accept = source._accept  # type: ignore[attr-defined]
        family = int(source.family)

        def take() -> tuple[Accepted, Any]:
            descriptor, address = accept()
            return Accepted(descriptor, family), address

        return take

    def _receive(self, inbox: socket.socket) -> Accepted | None:
        """Return the next client in an inbox, None if no process can put in another."""
        spare = self._spare
        if spare is None or not spare.is_available():
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        space = socket.CMSG_SPACE(_DESCRIPTOR_BYTES)
        with spare:
            content, ancillary, _flags, _address = inbox.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
        if not content:
            return None
        [(_level, _kind, rights)] = ancillary
        return Accepted.of_any_family(array.array("i", rights)[0])

    def _pause(self, source: socket.socket, error: OSError) -> None:
        self._on_pause()
        if not self._exhausted:
            self._exhausted = True
            log.error("cannot accept: %s; trying again every %g s", error.strerror, _PAUSE)
        self._loop.remove_reader(source.fileno())
        self._loop.call_later(_PAUSE, self._resume, source)

    def _resume(self, source: socket.socket) -> None:
        if source in self._sources:
            self._watch(source)


@dataclass(frozen=True)
class _Place:
    """A queue's place in the line."""

    acceptor: Acceptor
    source: socket.socket

    def serve(self) -> None:
        self.acceptor.serve(self.source)


def _is_inbox(source: socket.socket) -> bool:
    return source.type is socket.SOCK_SEQPACKET
