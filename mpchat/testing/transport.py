"""Two transports that are connected in memory, in place of the two ends of a TCP connection.

Rules. Nothing arrives within ``write``: the receiver runs in a callback of the loop, in a context of its
own, as for a socket. What the other end has not read is the write buffer of this one. No system's buffer
lies between them, so a client that does not read is noticed at ``write-limit``. As with TCP, an end of
file follows what was written before it. Bytes for an end that is closed are lost, and so is the
connection of whoever writes them.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
from typing import cast

_MAX_READ = 256 * 1024
"""Bytes of one read, as of uvloop and asyncio."""
_HIGH = 64 * 1024
"""Unread bytes at which a writer pauses, unless its protocol sets another limit."""

Address = tuple[str, int]


class MemoryTransport(asyncio.Transport):
    """One end."""

    _peer: MemoryTransport

    def __init__(self, own: Address, other: Address) -> None:
        super().__init__({"sockname": own, "peername": other})
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._unread = bytearray()
        """What the other end has not read"""
        self._high, self._low = _HIGH, _HIGH // 4
        self._is_full = False
        """Whether the protocol was told to pause writing"""
        self._has_written_eof = False
        self._has_read_eof = False
        self._is_reading = True
        self._is_read_due = False
        self._is_closing = False
        self._is_lost = False

    def connect(self, peer: MemoryTransport, protocol: asyncio.BaseProtocol) -> None:
        """Begin; the other end may still be without its protocol."""
        self._peer = peer
        self._protocol = protocol
        self._context.run(protocol.connection_made, self)

    # asyncio.BaseTransport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._flushed()
            self._peer.read_soon()

    # Reading

    def is_reading(self) -> bool:
        return self._is_reading and not self._is_closing

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self.read_soon()

    def read_soon(self) -> None:
        """Read in the loop's next turn; call this when the other end has something to read."""
        if not self._is_read_due and self.is_reading():
            self._is_read_due = True
            self._loop.call_soon(self._read, context=self._context)

    def _read(self) -> None:
        self._is_read_due = False
        if not self.is_reading():
            return
        try:
            if self._peer.has_unread:
                self._receive()
                self.read_soon()
            elif self._peer.has_ended and not self._has_read_eof:
                self._has_read_eof = True
                if not cast(asyncio.Protocol, self._protocol).eof_received():
                    self.close()
        except BaseException:
            # The loop reports it.
            self.abort()
            raise

    def _receive(self) -> None:
        protocol = self._protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            buffer = memoryview(cast(bytearray, protocol.get_buffer(-1)))
            data = self._peer.take(len(buffer))
            buffer[: len(data)] = data
            protocol.buffer_updated(len(data))
        else:
            cast(asyncio.Protocol, protocol).data_received(self._peer.take(_MAX_READ))

    # For the other end

    @property
    def has_unread(self) -> bool:
        """Whether there is something to read."""
        return bool(self._unread)

    @property
    def has_ended(self) -> bool:
        """Whether nothing comes behind that."""
        return self._has_written_eof or self._is_closing

    def take(self, most: int) -> bytes:
        """Remove and return the next bytes."""
        data = bytes(self._unread[:most])
        del self._unread[:most]
        self._loop.call_soon(self._flushed, context=self._context)
        return data

    def peer_lost(self) -> None:
        """Take note that the other end reads no more."""
        if self._unread:
            self._lose(_error(errno.ECONNRESET))
        self.read_soon()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._has_written_eof:
            raise RuntimeError("cannot write after write_eof")
        if self._is_closing or not data:
            return
        if self._peer.is_lost:
            self._lose(_error(errno.EPIPE))
            return
        self._unread += data
        self._peer.read_soon()
        if len(self._unread) > self._high and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._has_written_eof = True
        self._peer.read_soon()

    def get_write_buffer_size(self) -> int:
        return len(self._unread)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low

    def _flushed(self) -> None:
        """The other end has read: write on, or end if that was all."""
        if self._is_full and len(self._unread) <= self._low and not self._is_lost:
            self._is_full = False
            self._protocol.resume_writing()
        if self._is_closing and not self._unread:
            self._lose(None)

    # The end

    @property
    def is_lost(self) -> bool:
        """Whether this end is closed for good."""
        return self._is_lost

    def abort(self) -> None:
        self._lose(None)

    def _lose(self, error: OSError | None) -> None:
        if not self._is_lost:
            self._is_lost = self._is_closing = True
            self._unread.clear()
            self._loop.call_soon(self._end, error, context=self._context)

    def _end(self, error: OSError | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._peer.peer_lost()


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def connect_pair(
    client: asyncio.BaseProtocol, server: asyncio.BaseProtocol, client_address: Address
) -> None:
    """Connect two protocols, of which the server's begins first."""
    address = ("127.0.0.1", 80)
    client_end = MemoryTransport(client_address, address)
    server_end = MemoryTransport(address, client_address)
    server_end.connect(client_end, server)
    client_end.connect(server_end, client)
