"""Channels: one socket pair between the supervisor and each child, messages and descriptors on it.

Rules. SOCK_SEQPACKET keeps message borders and tells when the other end is gone. Every message is one
JSON object with a ``kind``. A message too large for a socket buffer travels in a memfd instead, so
there is no size that works in tests and fails with somebody's real config. Both ends never block:
what the socket does not take now waits in the sender and goes out with the next ``send`` or ``flush``.
Received descriptors are close-on-exec and belong to the receiver. A process that has no descriptor left
loses those that come with a message: a child keeps a spare one for that moment (Spare).
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

INLINE_BYTES = 32 * 1024
"""Larger messages go through a memfd; a SEQPACKET socket takes about 200 KiB at the most."""
MAX_DESCRIPTORS = 253
"""The kernel's limit for one message (SCM_MAX_FD)."""

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class ChannelClosed(Exception):
    """The other end is gone."""


def sealed_memfd(name: str, content: bytes) -> int:
    """Return a descriptor of an anonymous file that nobody can change any more."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def read_memfd(descriptor: int) -> bytes:
    """Return the whole content, wherever somebody else's file offset stands."""
    size = os.fstat(descriptor).st_size
    parts = []
    offset = 0
    while offset < size:
        part = os.pread(descriptor, size - offset, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


class Channel:
    """One end; owns its socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._waiting: deque[tuple[bytes, list[int]]] = deque()

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return the near end, and the far end as the socket to hand to a child."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(near), far

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def has_waiting(self) -> bool:
        """Whether something waits until the socket takes it."""
        return bool(self._waiting)

    def send(self, kind: str, body: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send now or, if the socket is full, later; the caller keeps its descriptors.

        Raises:
            ChannelClosed: The other end is gone.
        """
        content = json.dumps({"kind": kind, **body}).encode()
        owned = [os.dup(descriptor) for descriptor in descriptors]
        if len(content) > INLINE_BYTES:
            owned.append(sealed_memfd("mpchat-message", content))
            content = b"memfd"
        self._waiting.append((content, owned))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._waiting:
            content, descriptors = self._waiting[0]
            rights = array.array("i", descriptors)
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
            try:
                self._socket.sendmsg([content], ancillary)
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            self._waiting.popleft()
            _close_all(descriptors)

    def receive(self) -> tuple[str, dict[str, Any], list[int]] | None:
        """Return the next message as (kind, body, descriptors), or None when none is there now.

        All its descriptors are there, or none if the process could not take them all.

        Raises:
            ChannelClosed: The other end is gone and everything it sent has been received.
        """
        rights = array.array("i")
        try:
            content, ancillary, flags, _address = self._recvmsg()
        except BlockingIOError:
            return None
        except OSError as error:
            raise ChannelClosed(str(error)) from error
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                rights.frombytes(data[: len(data) - len(data) % rights.itemsize])
        descriptors = list(rights)
        if not content:
            raise ChannelClosed("end of file")
        if flags & socket.MSG_CTRUNC:
            _close_all(descriptors)
            if content == b"memfd":
                raise ChannelClosed("no descriptor left to receive a message with")
            descriptors = []
        if content == b"memfd":
            memfd = descriptors.pop()
            content = read_memfd(memfd)
            os.close(memfd)
        body: dict[str, Any] = json.loads(content)
        return body.pop("kind"), body, descriptors

    def _recvmsg(self) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        space = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
        try:
            return self._socket.recvmsg(INLINE_BYTES * 2, space, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            # The other end has closed with something of ours unread. That is told once, and before
            # what it sent itself, which is still there.
            return self._socket.recvmsg(INLINE_BYTES * 2, space, socket.MSG_CMSG_CLOEXEC)

    def close(self) -> None:
        """Close this end and whatever still waited to be sent."""
        for _content, descriptors in self._waiting:
            _close_all(descriptors)
        self._waiting.clear()
        self._socket.close()


class Spare:
    """A descriptor kept for nothing but to be let go of when one is needed to receive another."""

    def __init__(self) -> None:
        self._descriptor: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def is_there(self) -> bool:
        """Return whether it is kept, or can be again."""
        if self._descriptor is None:
            self.__exit__()
        return self._descriptor is not None

    def __enter__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __exit__(self, *error: object) -> None:
        try:
            self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            # Somebody else took it; the next message has to do without.
            self._descriptor = None


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
