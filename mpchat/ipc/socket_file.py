"""A Unix socket's file: removed only by whoever put it there, or on its behalf."""

from __future__ import annotations

from dataclasses import dataclass

from mpchat.linux import system


@dataclass(frozen=True)
class SocketFile:
    """A file as it was when it was ours: inodes are used again, so the time belongs to it."""

    path: str
    inode: int
    modified_ns: int

    @classmethod
    def of(cls, path: str) -> SocketFile:
        """Note the file that is there now."""
        found = system.stat(path)
        return cls(path, found.st_ino, found.st_mtime_ns)

    def remove(self) -> None:
        """Remove it, unless another process has put its own there."""
        try:
            if SocketFile.of(self.path) == self:
                system.unlink(self.path)
        except FileNotFoundError:
            return
