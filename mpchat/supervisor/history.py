"""The files of the rooms' history: memory that outlives brokers and templates.

Rules. One file for each size that an edition asks for, taken from the system in full before a broker gets
it: a history that is promised may not fail, or have a process killed, when it fills up. While a restart
moves to another size, the old file stays for the way back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from mpchat.errors import ExitCode, StartError, describe_os_error
from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.linux.memory import Bound, smallest_bound

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_MIB = 1024 * 1024


class Histories:
    """The files that are kept, by size in bytes."""

    def __init__(self) -> None:
        self._files: dict[int, int] = {}

    def prepare(self, size: int | None) -> None:
        """Have a file of that size; None and 0 need none.

        Raises:
            StartError: There is not enough memory, or the system refuses it.
        """
        if not size or size in self._files:
            return
        bound = smallest_bound()
        if bound is not None and size > bound.bytes:
            raise StartError(_too_large(size, bound), ExitCode.OS)
        try:
            self._files[size] = _file_of(size)
        except OSError as error:
            text = f"the system refuses the {_mib(size)} of the rooms' history: "
            advice = f"set history-memory below {_mib(size)}, or give the service more memory"
            raise StartError(f"{text}{describe_os_error(error)}; {advice}", ExitCode.OS) from error

    def of(self, size: int | None) -> int | None:
        """Return the descriptor of the file of that size, None if there is none."""
        return self._files.get(size or 0)

    def keep_only(self, size: int | None) -> None:
        """Close all files but the one of that size; a broker that still has one keeps its memory."""
        for other in [one for one in self._files if one != size]:
            fds.close(self._files.pop(other))


def _file_of(size: int) -> int:
    descriptor = system.memfd_create("mpchat-history", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        system.posix_fallocate(descriptor, 0, size)
    except BaseException:
        fds.close(descriptor)
        raise
    with contextlib.suppress(OSError):
        # A broker that could shrink the file would only damage its own history.
        system.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def _too_large(size: int, bound: Bound) -> str:
    return (
        f"the rooms' history needs {_mib(size)} (history-memory), and {bound.by} has {_mib(bound.bytes)} "
        f"left: set history-memory below that, or give the service more memory (MemoryMax= of the unit)"
    )


def _mib(count: int) -> str:
    return f"{count / _MIB:.1f} MiB"
