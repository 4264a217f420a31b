"""Merges files and layers of dynamic config into one validated set of values.

Rules. Only regular files up to 16 MiB are read: a pipe or a device could block the reader forever. Layers
replace whole variables; the later layer wins. All mistakes are reported together.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from mpchat.config.validation import describe
from mpchat.config.yaml_file import Document, origin_of, problem
from mpchat.dynamic_config.keys import Key
from mpchat.errors import ConfigError, Problem, describe_os_error

MAX_FILE_BYTES = 16 * 1024 * 1024
_OUR_PREFIX = "MPCHAT_"


@dataclass(frozen=True)
class Loaded:
    """Validated values as JSON, where each comes from, and warnings for the operator."""

    values: dict[str, Any]
    origins: dict[str, str]
    """The place of each value: a file with line and column"""
    warnings: list[str]


def read_file(path: str) -> str:
    """Return the text of a config file.

    Raises:
        ConfigError: As for ``read_bytes``, or the file is not UTF-8.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise _unusable(path, f"not UTF-8 at byte {error.start}") from error


def read_bytes(path: str) -> bytes:
    """Return the content of a file that a config names.

    Raises:
        ConfigError: The file is missing, unreadable, not a regular file, or too large.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {describe_os_error(error)}") from error
    except ValueError as error:
        raise _unusable(path, f"cannot be read: {error}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unusable(path, "expected a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {describe_os_error(error)}") from error
    finally:
        os.close(descriptor)
    if len(content) > MAX_FILE_BYTES:
        raise _unusable(path, f"larger than {MAX_FILE_BYTES} bytes")
    return content


def load(
    layers: Iterable[Document],
    keys: Iterable[Key[Any]],
    known: frozenset[str],
    remote: Document | None = None,
) -> Loaded:
    """Merge the layers and validate every declared variable.

    ``known``: names that nobody here declares, but that need no warning. ``remote``: the layer of a
    config service, above all others, in which no name needs to be known.

    Raises:
        ConfigError: All mistakes.
    """
    declared = {key.name: key for key in keys}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems: list[Problem] = []
    unknown: set[str] = set()
    for layer in (*layers, *([] if remote is None else [remote])):
        problems += layer.problems
        for name, value in layer.value.items():
            values[name] = value
            origins[name] = origin_of(layer, (name,))
            key = declared.get(name)
            if key is not None:
                problems += _mistakes(key, value, layer)
            elif layer is remote:
                continue
            elif name.startswith(_OUR_PREFIX):
                ours = ", ".join(sorted(n for n in declared if n.startswith(_OUR_PREFIX)))
                problems.append(problem(layer, (name,), f"unknown variable; known are {ours}"))
            elif name not in known:
                unknown.add(name)
    if problems:
        raise ConfigError(problems)
    warnings = []
    if unknown:
        names = ", ".join(sorted(unknown))
        warnings.append(f"dynamic config: kept, but nothing here declares {names}")
    return Loaded(values, origins, warnings)


def _mistakes(key: Key[Any], value: Any, layer: Document) -> list[Problem]:
    try:
        key.validate(value)
    except ValidationError as error:
        model = key.type if isinstance(key.type, type) else None
        known = model if model is not None and issubclass(model, BaseModel) else None
        return [
            problem(layer, (key.name, *_inside(detail["loc"])), describe(detail, known))
            for detail in error.errors(include_url=False)
        ]
    except TypeError as error:
        return [problem(layer, (key.name,), f"expected a JSON value: {error}")]
    return []


def _inside(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return tuple(part for part in loc if part not in {"constrained-int", "none", "int"})


def _unusable(path: str, text: str) -> ConfigError:
    return ConfigError([Problem(path, 0, 0, "", text)])
