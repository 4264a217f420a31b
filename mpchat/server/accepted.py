"""An accepted socket that nobody has read from."""

from __future__ import annotations

import socket
from typing import cast

from mpchat.linux import descriptors


class Accepted:
    """As little of a socket as its transport needs.

    ``socket.socket`` would ask the system for the name, and make enums of family and type: a thirtieth
    of a handshake.

    Attributes:
        family, type: As in ``socket``, but plain integers.
    """

    __slots__ = ("_descriptor", "family")
    type = int(socket.SOCK_STREAM)

    def __init__(self, descriptor: int, family: int) -> None:
        self._descriptor = descriptor
        self.family = family

    @classmethod
    def of_any_family(cls, descriptor: int) -> Accepted:
        """Return one whose family the system has to tell."""
        sock = socket.socket(fileno=descriptor)
        return cls(sock.detach(), int(sock.family))

    def fileno(self) -> int:
        """Return the descriptor; -1 if it is not ours any more."""
        return self._descriptor

    def as_socket(self) -> socket.socket:
        """Return this for ``connect_accepted_socket`` of uvloop, which calls nothing that is missing."""
        return cast(socket.socket, self)

    def handed_over(self) -> None:
        """A transport has the descriptor, and closes it."""
        self._descriptor = -1

    def close(self) -> None:
        """Close the descriptor if it is ours; the transport calls this, too, when it has closed it."""
        if self._descriptor >= 0:
            descriptors.close(self._descriptor)
            self._descriptor = -1
