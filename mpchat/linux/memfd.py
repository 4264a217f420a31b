"""Anonymous files (memfd_create(2)), in which processes pass each other content too large for a socket.

Rules. A file is sealed before it is passed on, so no process can change it, or make its reader wait or
fault.
"""

from __future__ import annotations

import fcntl
import os

from mpchat.linux import system

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed_memfd(name: str, content: bytes) -> int:
    """Return a descriptor of an anonymous file that can no longer be changed.

    Raises:
        OSError: The system refuses the descriptor or the memory; nothing is left behind.
    """
    descriptor = system.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[system.write(descriptor, view) :]
        system.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        system.close(descriptor)
        raise
    return descriptor


def read_memfd(descriptor: int, limit: int | None = None) -> bytes:
    """Return the content, or its first ``limit`` bytes, regardless of the shared file offset.

    Raises:
        OSError: The system cannot read it.
    """
    size = system.fstat(descriptor).st_size
    if limit is not None:
        size = min(size, limit)
    parts = []
    offset = 0
    while offset < size:
        part = system.pread(descriptor, size - offset, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def read_sealed_memfd(descriptor: int, limit: int) -> bytes:
    """Return the content of a file that another process has passed on.

    Raises:
        ValueError, OSError: As ``check_sealed_memfd``.
    """
    check_sealed_memfd(descriptor, limit)
    return read_memfd(descriptor)


def check_sealed_memfd(descriptor: int, limit: int) -> None:
    """Check that a file that another process has passed on can be read, and stays as it is.

    Raises:
        ValueError: The descriptor is not a memfd, not sealed, or has more than ``limit`` bytes.
        OSError: The system cannot tell.
    """
    try:
        seals = system.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        raise ValueError("the descriptor is not a memfd") from error
    if seals & _SEALS != _SEALS:
        raise ValueError("the memfd is not sealed")
    if (size := system.fstat(descriptor).st_size) > limit:
        raise ValueError(f"the memfd has {size} bytes; {limit} are allowed")
