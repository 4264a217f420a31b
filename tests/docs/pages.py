"""What stands in a page of the documentation: files, and what is typed at a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

_BLOCK = re.compile(
    r"(?:^`(?P<file>[\w./-]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``file`` is the name that the line before it gives."""

    language: str
    text: str
    file: str | None


def blocks(page: str) -> Iterator[Block]:
    """Return the fenced blocks of a page in their order."""
    for found in _BLOCK.finditer(page):
        yield Block(found["language"], found["text"], found["file"])
