"""What the crowd of clients notes of each connection, and how it travels to the judge.

Times are seconds of the system's monotonic clock, which all processes share; 0 is never.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import IO

ABNORMAL = 1006
"""The code of an end without the server's Close."""


@dataclass(slots=True)
class Record:
    """One connection, from the call of connect to the end of its socket."""

    number: int
    began: float
    opened: float = 0.0
    """When the 101 had arrived"""
    ended: float = 0.0
    worker: int = 0
    """The pid that the handshake's response named"""
    sent: int = 0
    answered: int = 0
    code: int = 0
    """Of the server's Close"""
    asked: bool = False
    """Whether the client had sent its Close before it saw the server's"""
    trouble: str = ""
    """What went wrong, empty if nothing did: refused, reset, silent, late, disorder, status NNN"""

    @property
    def wait(self) -> float:
        """Seconds from connect to the 101, or to the end of the attempt."""
        return (self.opened or self.ended) - self.began


def write_records(file: IO[str], records: Iterable[Record]) -> None:
    """Write each on a line."""
    for record in records:
        file.write(json.dumps(astuple(record)) + "\n")


def read_records(file: Iterable[str]) -> list[Record]:
    """Return what write_records wrote."""
    return [Record(*json.loads(line)) for line in file]
