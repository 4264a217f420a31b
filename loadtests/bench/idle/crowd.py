"""The client processes: driven by lines, a line of JSON is the answer; client.c has the orders."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from ..load import LoadFailed

SOURCE = Path(__file__).with_name("client.c")


def compile_client(program: Path) -> None:
    """Make ``program``, the client.

    Raises:
        LoadFailed: There is no compiler.
    """
    try:
        subprocess.run(
            [os.environ.get("CC", "cc"), "-O2", "-o", str(program), str(SOURCE)], check=True
        )
    except FileNotFoundError as error:
        text = f"{error.filename}: no such C compiler; the idle clients need one, named in CC"
        raise LoadFailed(text) from error


@dataclass
class Count:
    """What has happened to connections since they were last counted.

    Attributes:
        open: How many there are now.
        pings: Server pings that were answered.
        opened: Handshakes that were completed.
        refused: Connections that could not be opened.
        codes: Closed connections by close code; 1006 had no Close.
    """

    open: int = 0
    pings: int = 0
    opened: int = 0
    refused: int = 0
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, answer: dict[str, Any]) -> None:
        """Add what one process tells."""
        self.open += answer["open"]
        self.pings += answer["pings"]
        self.opened += answer["opened"]
        self.refused += answer["refused"]
        self.codes.update(answer["codes"])

    def merge(self, later: Count) -> None:
        """Add what was counted later."""
        self.open = later.open
        self.pings += later.pings
        self.opened += later.opened
        self.refused += later.refused
        self.codes.update(later.codes)


class Holder:
    """One client process."""

    def __init__(self, program: Path, port: int, source: str) -> None:
        command = [str(program), str(port), source]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def tell(self, order: str) -> None:
        """Give an order; ``answer`` is to be called before the next one."""
        assert self._process.stdin is not None
        # Of one that has ended ``answer`` tells.
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{order}\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the order's end, and return what it says.

        Raises:
            LoadFailed: The process has ended; why is on stderr.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LoadFailed(f"an idle client left with {self.leave()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, order: str) -> dict[str, Any]:
        """Give an order, and wait for its end."""
        self.tell(order)
        return self.answer()

    def leave(self) -> int:
        """End it, with all its connections; return its exit code."""
        self._process.terminate()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        return self._process.wait()


class Crowd:
    """All client processes: for a ``with`` block."""

    def __init__(self, program: Path, port: int, sources: Iterable[str]) -> None:
        self._program, self._port, self._sources = program, port, sources

    def __enter__(self) -> Crowd:
        with ExitStack() as stack:
            self.holders: list[Holder] = []
            for source in self._sources:
                holder = Holder(self._program, self._port, source)
                stack.callback(holder.leave)
                self.holders.append(holder)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return [holder.pid for holder in self.holders]

    def open(self, shares: list[int]) -> tuple[int, str]:
        """Let each process have so many connections; return how many there are, and what went wrong."""
        for holder, share in zip(self.holders, shares, strict=True):
            holder.tell(f"open {share}")
        answers = [holder.answer() for holder in self.holders]
        trouble = next((answer["trouble"] for answer in answers if answer["trouble"]), "")
        return sum(answer["open"] for answer in answers), trouble

    def come_back(self, *, wanted: bool) -> None:
        """From now on let each connection be opened anew that is closed, or no longer."""
        self._all(f"again {wanted:d}")

    def count(self) -> Count:
        """Return what has happened since the last count."""
        count = Count()
        for answer in self._all("count"):
            count.add(answer)
        return count

    def _all(self, order: str) -> list[dict[str, Any]]:
        for holder in self.holders:
            holder.tell(order)
        return [holder.answer() for holder in self.holders]
