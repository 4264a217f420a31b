"""What each system call may fail with: the errnos that its manual page names and a service can meet."""

from __future__ import annotations

import errno as e

HANDLER = 0
"""Stands for MemoryError, at the entry of a handler."""

ENDS = -1
"""The process ends there, which has to be noticed."""

ERRNOS: dict[str, tuple[int, ...]] = {
    "open": (e.EMFILE, e.ENFILE, e.ENOMEM, e.EACCES),
    "close": (e.EIO, e.EINTR),
    "dup": (e.EMFILE,),
    "dup2": (e.EMFILE,),
    "read": (e.EIO,),
    "write": (e.EIO, e.ENOSPC, e.EAGAIN, e.EPIPE),
    "pread": (e.EIO, e.ENOMEM),
    "pwrite": (e.ENOMEM, e.ENOSPC),
    "lseek": (e.ESPIPE,),
    "ftruncate": (e.ENOMEM, e.EINTR),
    "posix_fallocate": (e.ENOSPC, e.ENOMEM, e.EFBIG),
    "fstat": (e.ENOMEM,),
    "stat": (e.EACCES, e.ENOMEM),
    "lstat": (e.EACCES, e.ENOMEM),
    "mkdir": (e.EACCES, e.ENOSPC),
    "getcwd": (e.ENOMEM,),
    "chdir": (e.ENOENT, e.EACCES),
    "unlink": (e.EACCES, e.EROFS),
    "pipe2": (e.EMFILE, e.ENFILE),
    "set_inheritable": (e.EBADF,),
    "memfd_create": (e.EMFILE, e.ENFILE, e.ENOMEM),
    "fcntl": (e.EMFILE, e.EBUSY),
    "flock": (e.ENOLCK,),
    "lockf": (e.EAGAIN, e.ENOLCK),
    "mmap": (e.ENOMEM,),
    "fork": (e.EAGAIN, e.ENOMEM),
    "execve": (e.ENOMEM, e.ENOENT, e.EACCES),
    "waitid": (e.EINVAL,),
    "waitpid": (e.EINVAL,),
    "pidfd_open": (e.EMFILE, e.ENFILE, e.ENOMEM),
    "pidfd_send_signal": (e.EPERM,),
    "kill": (e.EPERM,),
    "prctl": (e.EPERM,),
    "poll": (e.ENOMEM,),
    "socket": (e.EMFILE, e.ENFILE, e.ENOBUFS, e.ENOMEM),
    "socketpair": (e.EMFILE, e.ENFILE, e.ENOBUFS),
    "bind": (e.EADDRINUSE, e.EACCES),
    "listen": (e.EADDRINUSE,),
    "connect": (e.EAGAIN, e.EACCES),
    "getsockname": (e.ENOBUFS,),
    "setsockopt": (e.ENOMEM, e.ENOPROTOOPT),
    "getsockopt": (e.ENOBUFS, e.ENOPROTOOPT),
    "sendmsg": (e.EAGAIN, e.ENOMEM, e.ENOBUFS, e.ETOOMANYREFS),
    "recvmsg": (e.EAGAIN, e.ENOMEM),
    "sendto": (e.EAGAIN, e.ENOBUFS, e.ECONNREFUSED),
    # These fail for arguments only, which are ours.
    "umask": (),
    "isatty": (),
    "close_socket": (),
    "sigaction": (),
    "sigmask": (),
    "set_wakeup_fd": (),
    "setblocking": (),
    "sleep": (),
}
"""By name in ``mpchat.linux.system``; a unit test demands a row for each."""


def errnos_of(name: str) -> tuple[int, ...]:
    """Return what a recorded call is made to fail with."""
    return (HANDLER,) if name.startswith("enter ") else ERRNOS[name]
