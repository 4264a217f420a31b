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
    """A server made a mistake, or the client did; what the client found is on stderr."""


@dataclass(frozen=True)
class Outcome:
    """What one run of the client saw; latencies, and its own CPU time for each message, in µs."""

    done: int
    seconds: float
    client_cpu_us: float
    p50_us: float
    p99_us: float


def compile_command(program: Path) -> list[str]:
    """Return the command line that makes ``program`` of client.c."""
    return [os.environ.get("CC", "cc"), "-O2", "-o", str(program), str(SOURCE)]


def compile_client(program: Path) -> None:
    """Make ``program`` of client.c."""
    try:
        subprocess.run(compile_command(program), check=True)
    except FileNotFoundError as error:
        raise SystemExit(
            f"{error.filename}: no such C compiler; the load client needs one, named in CC"
        ) from error


class Load:
    """One client process: connected when its ``with`` block begins, closed in order at the end."""

    def __init__(self, server: str, command: list[str], core: int) -> None:
        self._server = server
        self._command = ["taskset", "-c", str(core), *command]

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._line()
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
        code = self._leave()
        if code != 0 and error is None:
            raise self._failed(code)

    def _failed(self, code: int) -> LoadFailed:
        return LoadFailed(f"under load, {self._server}: {self._command} left with {code}")

    def _leave(self) -> int:
        """Let it close its connections and leave; return its exit code."""
        with self._process:  # closes the pipes and waits
            pass
        return self._process.returncode

    @property
    def _stdin(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _line(self) -> str:
        """Return its next line; the first one only says that it is connected."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failed(self._leave())
        return line
