"""Programs that run in a place: started, waited for, asked for their processes, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import processes
from ..load import LoadFailed
from .network import Place

DEADLINE = 120.0
"""Seconds for a start on a busy machine"""
ENDING = 15.0
"""Seconds for an end in order"""


class Program:
    """A program with all its processes."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def pids(self, title: str = "") -> list[int]:
        """Return its processes whose command line begins with ``title``."""
        while True:
            # One of them may end while its children are read.
            with suppress(FileNotFoundError, ProcessLookupError):
                found = processes.tree(self._pid)
                return [pid for pid in found if _command_of(pid).startswith(title)]


def _command_of(pid: int) -> str:
    return (processes.PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()


def free_port() -> int:
    """Return a port that is free on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(
    place: Place,
    command: list[str],
    folder: Path,
    ready: Callable[[str], bool],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """Run a program until the end of the ``with`` block.

    Args:
        place: Where.
        command: Its words.
        folder: An empty folder, in which it runs.
        ready: Tells from its output whether it is.
        environment: What its environment has beyond ours.

    Raises:
        LoadFailed: It did not start.
    """
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*place.words, *command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=output,
            process_group=0,  # Ctrl-C is for us
        )
    try:
        end = time.monotonic() + DEADLINE
        while not ready(log.read_text()):
            if process.poll() is not None or time.monotonic() > end:
                raise LoadFailed(f"{command!r} did not start:\n{log.read_text()}")
            time.sleep(0.01)
        yield Program(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(ENDING)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def listens(address: tuple[str, int]) -> bool:
    """Tell whether somebody does."""
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0
