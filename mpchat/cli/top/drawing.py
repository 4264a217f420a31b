"""Lines of tables and of phrases, for all screens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from mpchat.cli.top.columns import Column, Sorting, Table
from mpchat.cli.top.history import SECONDS, Samples
from mpchat.cli.top.sparkline import ASCII, BLOCKS, buckets, sparkline

_NARROW = 100
"""Columns of a terminal below which one space parts the columns of a table, in the place of two."""


@dataclass(frozen=True)
class Size:
    """What there is to draw on.

    Attributes:
        height: Lines; None: as many as there is to show, and nobody to press a key.
        has_blocks: Whether it has the characters of sparklines and arrows.
    """

    width: int
    height: int | None
    has_blocks: bool = True

    @property
    def gap(self) -> int:
        """Spaces between the columns of a table."""
        return 1 if self.width < _NARROW else 2

    def sparkline(self, samples: Samples, now: float, width: int, most: float) -> str:
        """Return the samples of the last SECONDS."""
        levels = BLOCKS if self.has_blocks else ASCII
        return sparkline(buckets(samples, now, SECONDS, width), most, levels)


def has_blocks(stream: TextIO) -> bool:
    """Return whether a stream takes the characters of sparklines."""
    try:
        f"{BLOCKS}▲▼".encode(stream.encoding)
    except UnicodeEncodeError:
        return False
    return True


class Grid:
    """The columns of a table that fit into a width.

    Attributes:
        width: That of all columns together.
    """

    def __init__(
        self, table: Table, sorting: Sorting, rows: Sequence[object], width: int, size: Size
    ) -> None:
        self._columns = table.fitting(rows, sorting.title, width, size.gap)
        self._sorting = sorting
        self._gap = " " * size.gap
        self._arrow = ("▲▼" if size.has_blocks else "^v")[sorting.descending]
        self.width = sum(own for _column, own in self._columns)
        self.width += size.gap * (len(self._columns) - 1)

    def titles(self) -> Text:
        """Return the line of titles, in which the one that is sorted by is marked."""
        line = Text()
        for column, width in self._columns:
            is_sorted = column.title == self._sorting.title
            title = column.title
            if is_sorted and len(title) < width:
                title += self._arrow
            style = "bold underline" if is_sorted else "bold"
            self._append(line, column, title, width, style)
        return line

    def line(self, row: object, style: Callable[[Column], str]) -> Text:
        """Return the line of a row."""
        line = Text()
        for column, width in self._columns:
            self._append(line, column, cropped(column.cell(row), width), width, style(column))
        return line

    def _append(self, line: Text, column: Column, text: str, width: int, style: str) -> None:
        if line.plain:
            line.append(self._gap)
        pad = " " * (width - cell_len(text))
        line.append(pad + text if column.is_number else text + pad, style)


def cropped(text: str, width: int) -> str:
    """Return a text in so many characters, with a sign that something is missing."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "~"


def packed(phrases: Iterable[Text], width: int) -> list[Text]:
    """Return lines of whole phrases; one that is wider than a line is broken between its words."""
    lines: list[Text] = []
    for phrase in phrases:
        if lines and lines[-1].cell_len + 2 + phrase.cell_len <= width:
            lines[-1].append("  ").append_text(phrase)
        else:
            lines += _broken(phrase, width)
    return lines


def _broken(phrase: Text, width: int) -> list[Text]:
    if phrase.cell_len <= width:
        return [Text().append_text(phrase)]
    lines: list[str] = []
    for part in phrase.plain.split(" "):
        if lines and cell_len(lines[-1]) + 1 + cell_len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(cropped(part, width))
    return [Text(line, style=phrase.style) for line in lines]
