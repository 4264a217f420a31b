"""Finds the worker that a process descends from, even when its parents are gone.

Rules. A program started by exec has the worker's pid in its environment. A process that was only forked
has it in its title, since setting a title overwrites the environment in /proc.
"""

from __future__ import annotations

import os

from mpchat.linux import descriptors as fds
from mpchat.linux import system

WORKER_VARIABLE = "MPCHAT_WORKER_PID"
TITLE = "mpchat: child of worker "
_MAX_BYTES = 128 * 1024
"""Bytes of an environment, or of a title, that are read"""


def worker_of(pid: int) -> int:
    """Return the worker that a process descends from; 0 if neither title nor environment has one.

    Raises:
        OSError: The process has ended, or the system does not allow reading.
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

    Under a kernel without CONFIG_PROC_CHILDREN the list is empty.

    Raises:
        OSError: The system does not allow reading.
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
        while part := system.read(descriptor, _MAX_BYTES - len(content)):
            content += part
        return content
    finally:
        fds.close(descriptor)
