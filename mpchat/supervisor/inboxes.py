"""Inboxes: one for each slot, for clients that workers of other slots have accepted and pass on to it.

Rules. Both ends stay here, as listening sockets do: a client in an inbox outlives the worker that was to
take it, and the slot's next worker, or its helper, takes the client. An inbox is small: clients that wait
in it are not served, and a worker that stands still is not to be given many. Every worker writes to each.
"""

from __future__ import annotations

import socket

from mpchat.errors import ExitCode, StartError, describe_os_error
from mpchat.ipc import messages
from mpchat.linux import system
from mpchat.supervisor.child import Child

_BUFFER_BYTES = 16 * 1024
"""Bytes as the kernel counts them: about forty sockets."""
_AT_A_TIME = 128
"""Descriptors that travel with one message; the kernel allows 253."""


class Inboxes:
    """The ends for reading and for writing, by slot."""

    def __init__(self) -> None:
        self._ends: list[tuple[socket.socket, socket.socket]] = []

    def grow(self, slots: int) -> None:
        """Make inboxes for ``slots`` slots.

        Raises:
            StartError: The system refuses one; there are as many as before.
        """
        before = len(self._ends)
        while len(self._ends) < slots:
            try:
                self._ends.append(_inbox())
            except OSError as error:
                text = (
                    f"cannot make an inbox for slot {len(self._ends)}: {describe_os_error(error)}"
                )
                self.shrink(before)
                raise StartError(text, ExitCode.OS) from error

    def shrink(self, slots: int) -> None:
        """Close those beyond ``slots``; no worker may have them yet."""
        for ends in self._ends[slots:]:
            for end in ends:
                system.close_socket(end)
        del self._ends[slots:]

    def of(self, slot: int) -> socket.socket:
        """Return the end that a slot's worker reads from."""
        return self._ends[slot][0]

    def tell(self, worker: Child) -> None:
        """Give a worker the ends for writing that it does not have yet.

        Raises:
            OSError: The system refuses it; the next call goes on from there.
        """
        while worker.inboxes < len(self._ends):
            first = worker.inboxes
            ends = self._ends[first : first + _AT_A_TIME]
            writers = tuple(writer.fileno() for _reader, writer in ends)
            worker.send(messages.Inboxes(first), writers)
            worker.inboxes += len(ends)

    def close(self) -> None:
        """Close our descriptors; workers that still have theirs take what is in the inboxes."""
        self.shrink(0)


def _inbox() -> tuple[socket.socket, socket.socket]:
    reader, writer = system.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # The ends are shared by all processes that have them, and so is this.
        system.setblocking(reader, False)
        system.setblocking(writer, False)
        system.setsockopt(writer, socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    except OSError:
        system.close_socket(reader)
        system.close_socket(writer)
        raise
    return reader, writer
