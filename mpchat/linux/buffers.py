"""What the kernel holds for one TCP client: set on listening sockets, which accepted ones inherit."""

from __future__ import annotations

UNSENT = 256 * 1024
"""Bytes of answers that the kernel holds beyond the client's window. Without a bound these are megabytes
(tcp_wmem) for a client that does not read, and a few thousand such clients use up the memory that all
connections share (tcp_mem). With a lower bound, large messages go out in more pieces; connections whose
messages go out in larger fragments raise it (websocket/outgoing)."""

UNREAD = 128 * 1024
"""Bytes of a client that the kernel holds while we do not read; they take up to twice the memory. Without
a bound these are megabytes as well (tcp_rmem), and one read brings all of them in."""
