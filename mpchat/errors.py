"""Our exception tree: whose fault, where, and what to do.

    MpchatError
      ConfigError        mistakes in a config file, all of them, each with its place
      StartError         the service cannot run here; carries the exit code to leave with

The lowest room: imports nothing of ours. An error that reaches an operator is one of these; anything
else that reaches them is a bug of ours or of an author's code and shows its traceback.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """What the service leaves with (names and numbers of sysexits.h), and what that means."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> Self:
        member = int.__new__(cls, number)
        member._value_ = number
        member.meaning = meaning
        return member

    OK = 0, "Asked to stop, stopped (also in a hurry, with a warning)"
    FAILED = 1, "A verb was not carried out; stderr says why"
    USAGE = 64, "Bad command line"
    UNAVAILABLE = 69, "Cannot listen on the address"
    SOFTWARE = 70, "Workers cannot start, or the supervisor's own loop has failed for a minute"
    OS = 71, "The system refuses the first process, descriptor or memory"
    CONFIG = 78, "Bad or missing config, log or runtime folder not writable"


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a config file; line and column count from 1, 0 means the file as a whole."""

    file: str
    line: int
    column: int
    path: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.path}: {self.text}" if self.path else f"{place}: {self.text}"


class MpchatError(Exception):
    """Base of all errors of this package."""


class ConfigError(MpchatError):
    """One or more mistakes in config files, sorted by place; ``str`` is one line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


class StartError(MpchatError):
    """The service cannot run; ``exit_code`` is what the process leaves with."""

    def __init__(self, text: str, exit_code: ExitCode) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def describe_os_error(error: OSError) -> str:
    """Say what the system refused, without Python's ``[Errno N]`` decoration."""
    return os.strerror(error.errno) if error.errno else str(error)
