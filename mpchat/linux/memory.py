"""Memory that this process may still take: of its control groups, and of the machine.

Rules. Beyond a control group's limit the kernel does not refuse memory but kills a process, so whoever
wants a large piece asks here first. Every ancestor's limit counts, of cgroup v2 as of v1. Pages of files
are no use of memory here: the kernel gives them up first. What cannot be read sets no bound: containers
often hide it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mpchat.linux import descriptors as fds
from mpchat.linux import system

_MAX_BYTES = 256 * 1024
"""Bytes of a file that are read."""
_UNLIMITED = 2**62
"""Bytes from which a limit is none; cgroup v1 has a large number in its place."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, order=True)
class Bound:
    """How many bytes may still be taken, and who sets that bound."""

    bytes: int
    by: str


class _Version(NamedTuple):
    """The files of a control group."""

    limits: tuple[str, ...]
    usage: str
    reclaimable: tuple[str, ...]
    """Lines of memory.stat"""


_V2 = _Version(("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file"))
_V1 = _Version(
    ("memory.limit_in_bytes",),
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


def smallest_bound(root: str = "/") -> Bound | None:
    """Return the smallest bound of those that can be read, None if none can; ``root`` is for tests."""
    found = [*_of_groups(root), *_of_machine(root)]
    return min(found, default=None)


def _of_machine(root: str) -> Iterator[Bound]:
    match = re.search(r"^MemAvailable:\s+(\d+) kB$", _read(f"{root}proc/meminfo"), re.MULTILINE)
    if match:
        yield Bound(int(match[1]) * 1024, "the machine's free memory (MemAvailable)")


def _of_groups(root: str) -> Iterator[Bound]:
    ours = dict(_own_groups(_read(f"{root}proc/self/cgroup")))
    for version, top, point in _mounts(_read(f"{root}proc/self/mountinfo")):
        if version in ours:
            for folder in _ancestors(ours[version], top, point):
                yield from _of_group(version, root, folder)


def _own_groups(text: str) -> Iterator[tuple[_Version, str]]:
    """Return the path of our group in each hierarchy that may limit memory (cgroups(7))."""
    for line in text.splitlines():
        number, _colon, rest = line.partition(":")
        controllers, _colon, path = rest.partition(":")
        if number == "0" and not controllers:
            yield _V2, path
        elif "memory" in controllers.split(","):
            yield _V1, path


def _mounts(text: str) -> Iterator[tuple[_Version, str, str]]:
    """Return where such hierarchies are mounted: the group at the top, and the folder (proc(5))."""
    for line in text.splitlines():
        left, _dash, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if len(before) < 5 or len(after) < 3:
            continue
        top, point = (_unescape(item) for item in before[3:5])
        if after[0] == "cgroup2":
            yield _V2, top, point
        elif after[0] == "cgroup" and "memory" in after[2].split(","):
            yield _V1, top, point


def _ancestors(group: str, top: str, point: str) -> Iterator[str]:
    """Return the folder of a group and those of its ancestors, as far as they are mounted."""
    above = top.rstrip("/") + "/"
    # A group outside of what is mounted here, as in a container, may be seen as the top alone.
    inner = group[len(above) :].split("/") if group.startswith(above) else []
    names = [] if ".." in inner else [name for name in inner if name]
    for count in range(len(names), -1, -1):
        yield "/".join([point, *names[:count]])


def _of_group(version: _Version, root: str, folder: str) -> Iterator[Bound]:
    usage = _read(f"{root}{folder[1:]}/{version.usage}").strip()
    for name in version.limits:
        limit = _read(f"{root}{folder[1:]}/{name}").strip()
        if usage.isdigit() and limit.isdigit() and int(limit) < _UNLIMITED:
            used = max(0, int(usage) - _reclaimable(version, f"{root}{folder[1:]}/memory.stat"))
            yield Bound(max(0, int(limit) - used), f"the control group {folder} ({name})")


def _reclaimable(version: _Version, path: str) -> int:
    numbers = dict(line.partition(" ")[::2] for line in _read(path).splitlines())
    found = [numbers.get(name, "") for name in version.reclaimable]
    return sum(int(text) for text in found if text.isdigit())


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def _read(path: str) -> str:
    """Return the content of a file of the kernel; nothing if it cannot be read."""
    try:
        descriptor = system.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        content = b""
        while part := system.read(descriptor, _MAX_BYTES - len(content)):
            content += part
    except OSError:
        return ""
    finally:
        fds.close(descriptor)
    return content.decode("utf-8", "replace")
