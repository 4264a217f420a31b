"""Writes the file that a service starts with while its config service does not answer.

Rules. One flat JSON object of everything in force: a file of userver's form, which userver reads as well.
Whoever reads it finds the old content or the new, whenever this process or its machine stops. Nothing
here waits for a disk on the event loop: the caller runs it in a thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

_MODE = 0o644


def write(path: str, values: Mapping[str, Any]) -> None:
    """Replace the file, and make the folders that it needs.

    Raises:
        OSError: The system refuses; an older file is as it was.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    content = json.dumps(dict(values), indent=1, sort_keys=True).encode() + b"\n"
    # Of this process, so that two consoles never write into the same.
    unfinished = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        _write_through(unfinished, content)
        os.replace(unfinished, path)
    except OSError:
        _remove(unfinished)
        raise
    _sync_folder(folder)


def _write_through(path: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, _MODE), "wb") as file:
        # The umask may have taken permissions that other readers need.
        os.fchmod(file.fileno(), _MODE)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    """Have the disk know the new name as well."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        # What is left is the reason why writing failed, which the caller reports.
        return
