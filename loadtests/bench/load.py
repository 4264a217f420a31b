"""The load client: compiled where it runs, and driven by lines."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

SOURCE = Path(__file__).with_name("client.c")


class LoadFailed(Exception):
    """The client found a mistake; the message is its own."""


@dataclass(frozen=True)
class Outcome:
    """What one run of the client saw; latencies and its own CPU time in µs."""

    done: int
    seconds: float
    client_cpu_us: float
    p50_us: float
    p99_us: float


def compile_client(folder: Path) -> list[list[str]]:
    """Compile client.c into ``folder``; return the command lines to start and compile it."""
    program = folder / "client"
    command = [os.environ.get("CC", "cc"), "-O2", "-o", str(program), str(SOURCE)]
    subprocess.run(command, check=True)
    return [[str(program)], command]


class Load:
    """One client process, connected when the ``with`` block begins, closed in order at its end."""

    def __init__(self, command: list[str], core: int) -> None:
        self._command = command
        self._core = core

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            ["taskset", "-c", str(self._core), *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._line() != "ready\n":
            raise LoadFailed(f"no ready line from {self._command}")
        return self

    def run(self, seconds: float) -> Outcome:
        """Let it work; everything is at rest before and after."""
        self._stdin.write(f"{seconds:g}\n")
        self._stdin.flush()
        return Outcome(**json.loads(self._line()))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stdin.close()
        if self._process.wait(60) != 0 and error is None:
            raise LoadFailed(f"{self._command} left with {self._process.returncode}")

    @property
    def _stdin(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LoadFailed(f"{self._command} left with {self._process.wait(60)}")
        return line
