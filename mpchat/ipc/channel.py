"""Channels: a socket pair between the supervisor and each child, for messages and descriptors.

Rules. SOCK_SEQPACKET keeps message borders and reports the death of the other end. Every message is one
JSON object with a ``kind``. A message too large for a socket buffer travels in a sealed memfd, so no size
works in tests and fails with a real config. Neither end blocks: a message that the socket does not take
waits in the sender and goes out with the next ``send`` or ``flush``. Received descriptors are
close-on-exec and belong to the receiver. A process without a free descriptor loses those that come with a
message: a child keeps spare ones for that moment (Spare).

Nothing that the other end sends does harm: anything but a message raises MalformedMessage. A refusal of
the system raises OSError and loses nothing: the same call may be made again.
"""

from __future__ import annotations

import array
import errno
import json
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any

from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.linux.memfd import read_sealed_memfd, sealed_memfd

INLINE_BYTES = 32 * 1024
"""Larger messages go through a memfd; a SEQPACKET socket takes at most about 200 KiB."""
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Larger messages are refused, so that no sender can use up the receiver's memory."""
MAX_DESCRIPTORS = 253
"""The kernel's limit for one message (SCM_MAX_FD)."""
MAX_WAITING = 4096
"""Messages kept for a receiver that does not read."""

_MEMFD = b"memfd"
_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7))"""
_RECEIVE_BYTES = 2 * INLINE_BYTES
_ANCILLARY_BYTES = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4) + socket.CMSG_SPACE(_CREDENTIALS.size)
_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ECONNREFUSED, errno.ESHUTDOWN}
_RETRY_MS = 100
"""Milliseconds until a refused call is tried again."""
_REFUSED = {errno.ENOMEM, errno.ENOBUFS, errno.ETOOMANYREFS}
"""Refusals by the system, though the socket may have room."""


class ChannelClosed(Exception):
    """The other end is gone."""


class ChannelFull(Exception):
    """The other end does not read, and ``MAX_WAITING`` messages already wait for it."""


class MalformedMessage(Exception):
    """The other end sent no message, or one that it may not send; the text says what."""


class Channel:
    """One end; owns its socket.

    Attributes:
        sender: The pid that sent the last message, as the kernel says; 0 except at ``pair``'s near end,
            which alone asks for it.
        refused: Whether the system refused the waiting messages, so that polling for room is no use.
    """

    def __init__(self, sock: socket.socket) -> None:
        system.setblocking(sock, False)
        self._socket = sock
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self._unread: tuple[bytes, list[int]] | None = None
        """A received packet that is not decoded yet"""
        self.sender = 0
        self.refused = False

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return the near end, and the far end as a socket for a child.

        Raises:
            OSError: The system refuses; nothing is left behind.
        """
        near, far = system.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            system.setsockopt(near, socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            return cls(near), far
        except BaseException:
            near.close()
            far.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def wait(self) -> None:
        """Wait until something can be received; meanwhile send waiting messages.

        Raises:
            ChannelClosed: The other end is gone.
            OSError: The system refuses the wait.
        """
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        while self._waiting:
            wanted = select.POLLIN if self.refused else select.POLLIN | select.POLLOUT
            poller.modify(self._socket, wanted)
            if any(event & ~select.POLLOUT for _fd, event in system.poll(poller, _RETRY_MS)):
                return
            self.flush()
        poller.modify(self._socket, select.POLLIN)
        system.poll(poller, None)

    @property
    def has_waiting(self) -> bool:
        """Whether messages wait to be sent."""
        return bool(self._waiting)

    def send(self, kind: str, body: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a message now or, if the socket is full, later; the caller keeps its descriptors.

        Raises:
            ChannelClosed: The other end is gone.
            ChannelFull: The other end does not read.
            OSError: The system refuses a copy of a descriptor, or a memfd for a large message; nothing
                is sent.
        """
        content = json.dumps({"kind": kind, **body}).encode()
        memfd = -1
        passed = list(descriptors)
        if len(content) > INLINE_BYTES:
            memfd = sealed_memfd("mpchat-message", content)
            content = _MEMFD
            passed.append(memfd)
        try:
            if not self._waiting and self._send_now(content, passed):
                return
            self._enqueue(content, passed)
        finally:
            if memfd >= 0:
                fds.close(memfd)

    def flush(self) -> None:
        """Send waiting messages, as far as the socket takes them.

        Raises:
            ChannelClosed: The other end is gone.
        """
        while self._waiting:
            content, descriptors = self._waiting[0]
            if not self._send_now(content, descriptors):
                return
            self._waiting.popleft()
            fds.close_all(descriptors)

    def receive(self) -> tuple[str, dict[str, Any], list[int]] | None:
        """Return the next message as (kind, body, descriptors), or None if none has arrived.

        The descriptors are complete or, if the process could not take them all, empty.

        Raises:
            ChannelClosed: The other end is gone, and all its messages have been received.
            MalformedMessage: The packet is not a message; it is discarded.
            OSError: The system cannot receive now.
        """
        if self._unread is None:
            self._unread = self._receive_packet()
        if self._unread is None:
            return None
        content, descriptors = self._unread
        try:
            body = _decode(content, descriptors)
        except MalformedMessage:
            self._unread = None
            fds.close_all(descriptors)
            raise
        self._unread = None
        kind = body.pop("kind")
        if content == _MEMFD:
            fds.close(descriptors.pop())
        return kind, body, descriptors

    def close(self) -> None:
        """Close this end, with the descriptors of messages that wait to be sent or decoded."""
        for _content, descriptors in self._waiting:
            fds.close_all(descriptors)
        self._waiting.clear()
        if self._unread is not None:
            fds.close_all(self._unread[1])
            self._unread = None
        system.close_socket(self._socket)

    def _send_now(self, content: bytes, descriptors: Sequence[int]) -> bool:
        rights = array.array("i", descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        self.refused = False
        try:
            system.sendmsg(self._socket, [content], ancillary)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _REFUSED:
                self.refused = True
                return False
            if error.errno in _GONE:
                raise ChannelClosed(str(error)) from error
            raise
        return True

    def _enqueue(self, content: bytes, descriptors: Sequence[int]) -> None:
        if len(self._waiting) >= MAX_WAITING:
            raise ChannelFull(f"{MAX_WAITING} messages wait to be read")
        copies: list[int] = []
        try:
            for descriptor in descriptors:
                copies.append(system.dup(descriptor))
        except OSError:
            fds.close_all(copies)
            raise
        self._waiting.append((content, copies))

    def _receive_packet(self) -> tuple[bytes, list[int]] | None:
        try:
            content, ancillary, flags, _address = self._recvmsg()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _GONE:
                raise ChannelClosed(str(error)) from error
            raise
        rights = array.array("i")
        self.sender = 0
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                rights.frombytes(data[: len(data) - len(data) % rights.itemsize])
            elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                self.sender = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]
        descriptors = list(rights)
        if not content:
            fds.close_all(descriptors)
            raise ChannelClosed("end of file")
        if flags & socket.MSG_TRUNC:
            fds.close_all(descriptors)
            raise MalformedMessage(f"it is longer than {_RECEIVE_BYTES} bytes")
        if flags & socket.MSG_CTRUNC:
            fds.close_all(descriptors)
            descriptors = []
            if content == _MEMFD:
                raise ChannelClosed("no descriptor left to receive a message with")
        return content, descriptors

    def _recvmsg(self) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        flags = socket.MSG_CMSG_CLOEXEC
        try:
            return system.recvmsg(self._socket, _RECEIVE_BYTES, _ANCILLARY_BYTES, flags)
        except ConnectionResetError:
            # The other end has closed before it read all our messages. The kernel reports that once,
            # before the messages that the other end sent, which can still be received.
            return system.recvmsg(self._socket, _RECEIVE_BYTES, _ANCILLARY_BYTES, flags)


def _decode(content: bytes, descriptors: Sequence[int]) -> dict[str, Any]:
    if content == _MEMFD:
        if not descriptors:
            raise MalformedMessage("the memfd that holds it is missing")
        try:
            content = read_sealed_memfd(descriptors[-1], MAX_MESSAGE_BYTES)
        except ValueError as error:
            raise MalformedMessage(str(error)) from error
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"it is not JSON: {os.fsdecode(content[:100])!r}") from error
    if not isinstance(body, dict) or not isinstance(body.get("kind"), str):
        raise MalformedMessage(f"it is not an object with a kind: {os.fsdecode(content[:100])!r}")
    return body
