"""Every system call of the supervisor, the template, the monitor and a worker's boot.

Rules. Callers go through the module (``system.fork()``) and never import a name from it: a test replaces
the names and lets any call fail. Nothing is decided here. Constants and pure functions
(``os.WIFSIGNALED``, ``signal.SIGTERM``) stay with their modules. The calls of an event loop and those
inside the C library do not pass through here; the tests under strace reach them.
"""

from __future__ import annotations

import ctypes
import fcntl as _fcntl
import mmap as _mmap
import os
import select
import signal
import socket as _socket
import time
from collections.abc import Callable
from typing import Any

# Descriptors and files
open = os.open
close = os.close
dup = os.dup
dup2 = os.dup2
read = os.read
write = os.write
pread = os.pread
pwrite = os.pwrite
lseek = os.lseek
ftruncate = os.ftruncate
posix_fallocate = os.posix_fallocate
fstat = os.fstat
stat = os.stat
lstat = os.lstat
mkdir = os.mkdir
unlink = os.unlink
umask = os.umask
getcwd = os.getcwd
chdir = os.chdir
pipe2 = os.pipe2
set_inheritable = os.set_inheritable
isatty = os.isatty
memfd_create = os.memfd_create
fcntl = _fcntl.fcntl
flock = _fcntl.flock
lockf = _fcntl.lockf
mmap: Callable[[int, int], _mmap.mmap] = _mmap.mmap

# Processes and signals
fork = os.fork
execve = os.execve
waitid = os.waitid
waitpid = os.waitpid
pidfd_open = os.pidfd_open
pidfd_send_signal = signal.pidfd_send_signal
kill = os.kill
sigaction = signal.signal
sigmask = signal.pthread_sigmask
set_wakeup_fd = signal.set_wakeup_fd
sleep = time.sleep

# Sockets: each takes the socket first
socket = _socket.socket
socketpair = _socket.socketpair
bind = _socket.socket.bind
listen = _socket.socket.listen
connect = _socket.socket.connect
getsockname = _socket.socket.getsockname
setsockopt = _socket.socket.setsockopt
getsockopt: Callable[..., bytes] = _socket.socket.getsockopt
setblocking = _socket.socket.setblocking
sendmsg = _socket.socket.sendmsg
recvmsg = _socket.socket.recvmsg
sendto: Callable[..., int] = _socket.socket.sendto
close_socket = _socket.socket.close


def poll(poller: select.poll, milliseconds: float | None) -> list[tuple[int, int]]:
    """Wait for an event of the poller, at most for this time (None: forever)."""
    return poller.poll(milliseconds)


def prctl(option: int, argument: int) -> None:
    """Set an attribute of this process (man 2 prctl); Python has no call for it.

    Raises:
        OSError: As the system says.
    """
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}): {os.strerror(error)}")
