"""Every option of a static config with its value and where that comes from.

Rules. A list of plain values, which JSON can carry: the monitor answers it, ``mpchat config`` prints and
compares it. A value is written as a config would have it. What pydantic keeps secret (SecretStr) is not
in the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from mpchat.config.yaml_file import Document, Path, origin_of

DEFAULT = "default"
"""The origin of what no file sets."""
DEFAULT_AT_TERMINAL = "default at a terminal"
"""The origin of a default that another process, without that terminal, would not have."""
DEVELOPMENT = "--dev or --no-fork"
"""The origin of what a service has only while its author works on it."""
SECRET = "*" * 10
"""What pydantic writes in the place of a secret."""


@dataclass(frozen=True)
class Setting:
    """One option, or one item of an option that is a list or a mapping."""

    path: Path
    value: Any
    """A number, a text, a bool, None, or an empty list or mapping"""
    origin: str
    """A place, a variable with its place, an environment variable, a file, or ``default``"""


def settings_of(options: BaseModel, document: Document, path: Path) -> Iterator[Setting]:
    """Return the options that were validated for the section at a path."""
    # What a type of an author's cannot be written as in JSON is shown as its text.
    values = options.model_dump(
        mode="json", by_alias=True, round_trip=True, warnings=False, fallback=str
    )
    return _leaves(values, document, path)


def at_terminal(setting: Setting) -> Setting:
    """Return a setting whose default depends on the terminal."""
    return replace(setting, origin=DEFAULT_AT_TERMINAL) if setting.origin == DEFAULT else setting


def _leaves(value: Any, document: Document, path: Path) -> Iterator[Setting]:
    if value and isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in inner:
            yield from _leaves(item, document, (*path, key))
    else:
        yield Setting(path, value, _origin(document, path))


def _origin(document: Document, path: Path) -> str:
    value = document.value
    for depth, part in enumerate(path):
        if isinstance(value, dict):
            if part not in value:
                return DEFAULT
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif value is None:
            return DEFAULT
        else:
            # The model has another form than the file, such as a list for a text with commas.
            return origin_of(document, path[:depth])
    return origin_of(document, path)
