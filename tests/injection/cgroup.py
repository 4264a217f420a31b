"""A control group for one service, of version 1 or 2, whichever this machine has."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import Self

from mpchat.testsuite.service import wait_until

_ROOT = Path("/sys/fs/cgroup")


class Group:
    """Limits of processes and of memory for those who are started with ``wrapper``; needs root.

    Raises:
        OSError: This machine lets nobody make one.
    """

    def __init__(self, name: str) -> None:
        self._is_v2 = (_ROOT / "cgroup.controllers").exists()
        if self._is_v2:
            with contextlib.suppress(OSError):
                # Refused where a container's processes are in the root; then they are there already.
                (_ROOT / "cgroup.subtree_control").write_text("+pids +memory")
            self._folders = {"pids": _ROOT / name, "memory": _ROOT / name}
        else:
            own = _own_memory_group()
            self._folders = {"pids": _ROOT / "pids" / name, "memory": own / name}
        for folder in set(self._folders.values()):
            folder.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for folder in set(self._folders.values()):
            wait_until(partial(_is_empty, folder), "empty group")
            folder.rmdir()

    @property
    def wrapper(self) -> list[str]:
        """What a command line begins with that runs in the group."""
        joins = "".join(
            f"echo $$ > {folder}/cgroup.procs && " for folder in sorted(set(self._folders.values()))
        )
        return ["sh", "-c", f'{joins}exec "$@"', "sh"]

    def processes(self) -> int:
        """Return how many there are now."""
        return int((self._folders["pids"] / "pids.current").read_text())

    def limit_processes(self, most: int | None) -> None:
        """Allow no more than so many."""
        (self._folders["pids"] / "pids.max").write_text("max" if most is None else str(most))

    def refused_processes(self) -> int:
        """Return how often the limit of processes was met."""
        return _number_of("max", self._folders["pids"] / "pids.events")

    def refused_memory(self) -> int:
        """Return how often the limit of memory was met."""
        folder = self._folders["memory"]
        if self._is_v2:
            return _number_of("max", folder / "memory.events")
        return int((folder / "memory.failcnt").read_text())

    def memory(self) -> int:
        """Return the bytes that are taken now."""
        name = "memory.current" if self._is_v2 else "memory.usage_in_bytes"
        return int((self._folders["memory"] / name).read_text())

    def limit_memory(self, most: int | None) -> None:
        """Allow no more bytes than that; the kernel may be unable to get below what is taken."""
        name, unlimited = ("memory.max", "max") if self._is_v2 else ("memory.limit_in_bytes", "-1")
        with contextlib.suppress(OSError):
            (self._folders["memory"] / name).write_text(unlimited if most is None else str(most))


def _number_of(name: str, path: Path) -> int:
    words = path.read_text().split()
    return int(words[words.index(name) + 1])


def _is_empty(folder: Path) -> bool:
    return not (folder / "cgroup.procs").read_text()


def _own_memory_group() -> Path:
    for line in Path(f"/proc/{os.getpid()}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _ROOT / "memory" / path.lstrip("/")
    raise OSError("there is no memory controller")
