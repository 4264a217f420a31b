"""Our exception tree: whose fault, where, and what to do.

    MpchatError
      ConfigError        all mistakes in config files, each with its place
      StartError         the service cannot run here; carries the exit code

The lowest module: imports nothing of ours. An error that reaches an operator is one of these; any other
exception is a bug of ours or of an author's code, and shows its traceback.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """The exit codes of the service (names and numbers of sysexits.h), with their meanings."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> Self:
        member = int.__new__(cls, number)
        member._value_ = number
        member.meaning = meaning
        return member

    OK = 0, "Stopped as asked (also in a hurry, with a warning)"
    FAILED = 1, "A verb failed; stderr says why. Of `config diff`: something would change"
    USAGE = 64, "Bad command line"
    UNAVAILABLE = (
        69,
        "Cannot listen on the address, or the config service does not answer and there are no values to "
        "start with. Of `config diff`: the service does not answer",
    )
    SOFTWARE = 70, "The code does not load, no worker starts, or the supervisor's loop kept failing"
    OS = 71, "The system refuses a process, a descriptor or memory at the start"
    CONFIG = 78, "The config is bad or missing, or the log or runtime folder is not writable"


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a config file; line and column count from 1, and 0 means the whole file."""

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
    """One or more mistakes in config files, sorted by place; ``str`` has one line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


class StartError(MpchatError):
    """The service cannot run; the process exits with ``exit_code``."""

    def __init__(self, text: str, exit_code: ExitCode) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def describe_os_error(error: OSError) -> str:
    """Return the system's reason for a refusal, without Python's ``[Errno N]``."""
    # Numbers below zero come from the resolver, whose texts the system does not know.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def describe_exception(error: BaseException) -> str:
    """Return the traceback of an exception of an author's code, without the frames of its callers."""
    report = traceback.TracebackException.from_exception(error)
    frames = list(report.stack)
    while frames and _is_caller(frames[0].filename):
        frames.pop(0)
    if not frames:
        return "".join(report.format_exception_only())
    report.stack = traceback.StackSummary.from_list(frames)
    return "".join(report.format())


def describe_failure(error: BaseException) -> str:
    """Return the traceback of an exception, or of the author's exception that is behind one of ours."""
    if isinstance(error, MpchatError) and error.__cause__ is not None:
        return f"{describe_exception(error.__cause__)}{error}\n"
    return "".join(traceback.format_exception(error))


def _is_caller(file: str) -> bool:
    """Return whether a file belongs to the code that imports or calls an author's module."""
    return file.startswith(("<frozen importlib", _PACKAGE)) or file.endswith(_CALLERS)


_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
_CALLERS = ("importlib/__init__.py", "pydantic/main.py", "pydantic/type_adapter.py")
