"""The load client: compiled where it runs, and driven by lines."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

SOURCES = [Path(__file__).with_name(name) for name in ("client.c", "ring.c", "tls.c")]
ZLIB = ["-DDEFLATE", "-lz"]
OPENSSL = ["-DTLS", "-lssl", "-lcrypto"]


class LoadFailed(Exception):
    """A server made a mistake, or the client did; what the client found is on stderr."""


@dataclass(frozen=True)
class Outcome:
    """What one run of the client saw.

    Attributes:
        done: Messages answered, or received by all members of the room; handshakes; or pings at rest.
        seconds: How long it took.
        client_cpu_us: The client's own CPU time for each of them.
        p50_us: Median time from sending a message to its answer, or to the last member's having it.
        p99_us: The 99th percentile of that.
        wire_bytes: Payload of an answer, as it came: compressed where it was compressed.
    """

    done: int
    seconds: float
    client_cpu_us: float
    p50_us: float
    p99_us: float
    wire_bytes: float


def compile_command(
    program: Path, flags: Iterable[str] = (), sources: Iterable[Path] = SOURCES
) -> list[str]:
    """Return the command line that makes ``program``; flags go last, for the sake of libraries."""
    compiler = os.environ.get("CC", "cc")
    return [compiler, "-O2", "-o", str(program), *map(str, sources), *flags]


def compile_client(program: Path, library: list[str] = ZLIB) -> list[str]:
    """Make ``program``, with what that library is for where its headers are; return the command line."""
    whole, without = compile_command(program, library), compile_command(program)
    try:
        if subprocess.run(whole, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return whole
        subprocess.run(without, check=True)
    except FileNotFoundError as error:
        raise SystemExit(
            f"{error.filename}: no such C compiler; the load client needs one, named in CC"
        ) from error
    return without


class Load:
    """One client process: it connects when its ``with`` block begins, and closes in order at the end.

    ``cores``: one, or several as taskset takes them.
    """

    def __init__(
        self, server: str, command: list[str], cores: int | str, *, nice: bool = False
    ) -> None:
        self._server = server
        self._command = ["taskset", "-c", str(cores), *(["nice"] if nice else []), *command]

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def wait_connected(self) -> None:
        """Wait until all its connections are open."""
        self._line()

    def connect_publisher(self) -> None:
        """Connect the one that publishes beside the members, again if it is there; wait for it."""
        self.order("publisher")
        self._line()

    def begin(self, seconds: float) -> None:
        """Let it work."""
        self.order(f"{seconds:g}")

    def end(self) -> Outcome:
        """Wait for the end of its work; then everything is at rest, as it was before."""
        return Outcome(**self.answer())

    def order(self, line: str) -> None:
        """Have it do what a line says."""
        self._stdin.write(f"{line}\n")
        self._stdin.flush()

    def answer(self) -> Any:
        """Wait until that is done, and return what it says."""
        return json.loads(self._line())

    def run(self, seconds: float) -> Outcome:
        """Let it work, and wait."""
        self.begin(seconds)
        return self.end()

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
        """Return its next line; the first one says that it is connected."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failed(self._leave())
        return line
