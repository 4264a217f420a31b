"""How a process tells which worker it descends from, also when its parents are gone.

Rules. A program that was started by exec has it in its environment; a process that was only forked has it
as its title, since the environment that /proc shows is overwritten by a title.
"""

from __future__ import annotations

import os

from mpchat.linux import descriptors as fds
from mpchat.linux import system

WORKER_VARIABLE = "MPCHAT_WORKER_PID"
TITLE = "mpchat: child of worker "
_LONGEST = 128 * 1024
"""Bytes of an environment, or of a title, that are looked at"""


def worker_of(pid: int) -> int:
    """Return the worker that a process descends from, 0 if it does not say.

    Raises:
        OSError: It has ended, or the system does not let us look.
    """
    title = _read(f"/proc/{pid}/cmdline").partition(b"\0")[0]
    if title.startswith(TITLE.encode()):
        return _number(title[len(TITLE) :])
    mark = WORKER_VARIABLE.encode() + b"="
    for entry in _read(f"/proc/{pid}/environ").split(b"\0"):
        if entry.startswith(mark):
            return _number(entry[len(mark) :])
    return 0


def children_of(pid: int) -> list[int]:
    """Return the children of a process that has one thread (proc(5), /proc/PID/task/TID/children).

    A kernel without CONFIG_PROC_CHILDREN tells none.

    Raises:
        OSError: The system does not let us look.
    """
    try:
        return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]
    except FileNotFoundError:
        return []


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() else 0


def _read(path: str) -> bytes:
    descriptor = system.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while part := system.read(descriptor, _LONGEST - len(content)):
            content += part
        return content
    finally:
        fds.close(descriptor)
