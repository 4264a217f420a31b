"""Copies the templates."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Kind = Literal["auth", "rooms"]
"""What else a service can have: a login, or rooms."""

_TEMPLATES = Path(__file__).parent
_NAME = "my-service"
_LONGEST = 31
"""Letters of a user name of Linux: the unit runs the service as a user of its name"""
_TAKEN = frozenset({"mpchat", "root", "nobody", "daemon", "main", "tests"})
_CACHES = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"})


def check_name(name: str) -> None:
    """Check that a service can have this name.

    Raises:
        ValueError: It cannot; the text says why.
    """
    if not re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > _LONGEST:
        text = (
            f"expected at most {_LONGEST} small letters, digits and single hyphens, as in my-chat"
        )
        raise ValueError(f"{text}, got {name!r}")
    if name in _TAKEN:
        raise ValueError(f"{name} is the name of something else; choose another")


def write_service(parent: Path, name: str, kind: Kind | None = None) -> list[Path]:
    """Write a new service into a new folder; return its files in order.

    ``kind`` None is the plain one.

    Raises:
        FileExistsError: The folder exists.
        OSError: The system refuses it; nothing is left.
    """
    folder = parent / name
    folder.mkdir()
    try:
        written = set(_copies(_TEMPLATES / _NAME, folder, name))
        if kind is not None:
            written.update(_copies(_TEMPLATES / f"{_NAME}-{kind}", folder, name))
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return sorted(written)


def _copies(template: Path, folder: Path, name: str) -> Iterator[Path]:
    for source in sorted(template.rglob("*")):
        if source.is_dir() or _CACHES.intersection(source.parts):
            continue
        parts = [
            re.sub("^dot-", ".", part).replace(_NAME, name)
            for part in source.relative_to(template).parts
        ]
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text("utf-8").replace(_NAME, name)
        target.write_text(text, "utf-8")
        yield target
