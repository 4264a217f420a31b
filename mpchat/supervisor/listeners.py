"""Listening sockets: bound before any worker, owned by the supervisor, a set that only grows.

Rules. The first socket of a group is bound and listening *without* SO_REUSEPORT and gets the option
then; its siblings join it. So the kernel refuses a second instance of the service, which a check of the
port beforehand could not promise. A socket on which clients may be queued is not closed while the service
listens.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from mpchat.errors import ExitCode, StartError, describe_os_error
from mpchat.linux import system
from mpchat.linux.buffers import UNREAD, UNSENT
from mpchat.linux.socket_file import PathTaken, SocketFile, listen_at

_INFO_BYTES = 104
_QUEUE = struct.Struct("=II")
_QUEUE_AT = 24
"""In struct tcp_info: of a listening socket, unacked is its queue and sacked the queue's limit."""
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


class Listeners:
    """The listening sockets of one listener, one for each slot (one for all on a Unix path)."""

    def __init__(self, plan: dict[str, Any], slots: int) -> None:
        """Bind and listen.

        Raises:
            StartError: The address cannot be listened on.
        """
        self.unix_path: str | None = plan["unix_socket"]
        self.file: SocketFile | None = None
        self._backlog: int = plan["backlog"]
        self._family, self._address = socket.AF_UNIX, ""
        if self.unix_path is not None:
            self.port = 0
            shared, self.file = _listen_unix(self.unix_path, plan)
            self.sockets = [shared] * slots
            return
        self._family, self._address = _family(plan["address"])
        first = self._bind_tcp(plan["port"], join=False)
        self.sockets = [first]
        try:
            self._listen(first)
            self.port = int(system.getsockname(first)[1])
            system.setsockopt(first, socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self.grow(slots)
        except OSError as error:
            self.close()
            raise _cannot_listen(self._where(plan["port"]), error) from error
        except StartError:
            self.close()
            raise

    def grow(self, slots: int) -> None:
        """Make sockets for ``slots`` slots; none is ever given up, whatever becomes of its slot.

        Raises:
            StartError: The system refuses one; there are as many as before.
        """
        missing = slots - len(self.sockets)
        if self.shared:
            self.sockets += self.sockets[:1] * missing
            return
        new: list[socket.socket] = []
        try:
            for _ in range(missing):
                new.append(self._bind_tcp(self.port, join=True))
            # No client comes to one that does not listen, so until here each can be given up.
            for sock in new:
                self._listen(sock)
        except OSError as error:
            _close_all(new)
            raise _cannot_listen(self._where(self.port), error) from error
        except StartError:
            _close_all(new)
            raise
        self.sockets += new

    def set_backlog(self, backlog: int) -> None:
        """Let ``backlog`` clients wait on each socket.

        Raises:
            StartError: The system refuses it.
        """
        try:
            for sock in self.sockets:
                system.listen(sock, backlog)
        except (OSError, OverflowError) as error:
            text = f"cannot let {backlog} clients wait: {error}"
            raise StartError(text, ExitCode.UNAVAILABLE) from error
        self._backlog = backlog

    def describe(self) -> dict[str, Any]:
        """Return where the service listens, and how full the queue of each socket is.

        ``queues`` has for each slot the clients that wait and those that may, or None for a Unix socket,
        of which Linux tells neither.

        Raises:
            OSError: The system does not tell.
        """
        return {
            "address": self._address or None,
            "port": self.port or None,
            "unix_socket": self.unix_path,
            "backlog": self._backlog,
            "queues": [None if self.shared else _queue_of(sock) for sock in self.sockets],
        }

    @property
    def address(self) -> str:
        """The address that is listened on; empty for a Unix socket."""
        return self._address

    @property
    def shared(self) -> bool:
        """Whether all slots share one socket, so that a slot without a worker needs no helper."""
        return self.unix_path is not None

    def close(self) -> None:
        """Close our descriptors; clients are refused when the last worker has closed its own."""
        _close_all(self.sockets)

    def remove_file(self) -> None:
        """Remove the socket file if it is still ours."""
        if self.file is not None:
            self.file.remove()

    def _bind_tcp(self, port: int, *, join: bool) -> socket.socket:
        family = self._family
        try:
            sock = system.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise _cannot_listen(self._where(port), error) from error
        try:
            system.setblocking(sock, False)
            # Connections of a previous run in TIME_WAIT do not keep the port from us.
            system.setsockopt(sock, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if join:
                system.setsockopt(sock, socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                system.setsockopt(sock, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            # Accepted sockets inherit both; websocket/outgoing raises the first for large fragments.
            system.setsockopt(sock, socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
            system.setsockopt(sock, socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD)
            system.bind(sock, (self._address, port))
        except OSError as error:
            system.close_socket(sock)
            raise _cannot_listen(self._where(port), error) from error
        return sock

    def _listen(self, sock: socket.socket) -> None:
        system.listen(sock, self._backlog)

    def _where(self, port: int) -> str:
        return f"{self._address} port {port}"


def _queue_of(sock: socket.socket) -> list[int]:
    info = system.getsockopt(sock, socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    return list(_QUEUE.unpack_from(info, _QUEUE_AT))


def _close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        system.close_socket(sock)


def _family(address: str | None) -> tuple[socket.AddressFamily, str]:
    if address is None:
        if not _has_ipv6():
            return socket.AF_INET, "0.0.0.0"
        return socket.AF_INET6, "::"
    return (socket.AF_INET6 if ":" in address else socket.AF_INET), address


def _has_ipv6() -> bool:
    try:
        with system.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            system.bind(probe, ("::", 0))
    except OSError as error:
        if error.errno in _NO_IPV6:
            return False
        raise _cannot_listen(":: (any address)", error) from error
    return True


def _listen_unix(path: str, plan: dict[str, Any]) -> tuple[socket.socket, SocketFile]:
    permissions: str | None = plan["unix_socket_permissions"]
    mode = None if permissions is None else int(permissions, 8)
    try:
        return listen_at(path, plan["backlog"], mode)
    except PathTaken as error:
        text = f"cannot listen on {path}: {error} (is this service running already?)"
        raise StartError(text, ExitCode.UNAVAILABLE) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(f"cannot listen on {path}: {reason}", ExitCode.UNAVAILABLE) from error


def _cannot_listen(where: str, error: OSError) -> StartError:
    advice = ""
    if error.errno == errno.EADDRINUSE:
        advice = "; another process listens there (is this service running already?)"
    elif error.errno == errno.EACCES:
        advice = "; ports below 1024 need CAP_NET_BIND_SERVICE"
    return StartError(
        f"cannot listen on {where}: {describe_os_error(error)}{advice}", ExitCode.UNAVAILABLE
    )
