"""The columns of the tables: what each shows, how it is sorted by, and which a narrow terminal keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from rich.cells import cell_len

from mpchat.cli.quantities import UNKNOWN, duration, number, or_dash, size
from mpchat.cli.tables import without_room

T = TypeVar("T")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its name.
        letter: The key that sorts by it; empty if there is none.
        field: The attribute of a row that it shows, and is sorted by.
        text: How that is shown.
        width: Characters that it has at least, so that columns do not come and go with a digit.
        help: Its meaning.
        is_number: Whether it stands at the right, and its largest come first.
        most: Characters that it has at most.
    """

    title: str
    letter: str
    field: str
    text: Callable[[Any], str]
    width: int
    help: str
    is_number: bool = True
    most: int = 24

    def value(self, row: object) -> Any:
        """Return what rows are sorted by."""
        return getattr(row, self.field)

    def cell(self, row: object) -> str:
        """Return what a row shows."""
        return self.text(self.value(row))


@dataclass(frozen=True)
class Table:
    """Columns in their order.

    Attributes:
        expendable: Titles of those that a narrow terminal does without, in this order.
    """

    columns: tuple[Column, ...]
    expendable: tuple[str, ...]

    def column(self, title: str) -> Column:
        """Return the column of this name."""
        return next(column for column in self.columns if column.title == title)

    def fitting(
        self, rows: Sequence[object], keep: str, width: int, gap: int
    ) -> list[tuple[Column, int]]:
        """Return the columns that fit into a width, as far as they can, each with its own width.

        The column ``keep`` is not left out.
        """
        widths = {column.title: _width(column, rows) for column in self.columns}
        expendable = [title for title in self.expendable if title != keep]
        dropped = without_room(widths, expendable, width, gap)
        return [
            (column, widths[column.title]) for column in self.columns if column.title not in dropped
        ]


def _width(column: Column, rows: Iterable[object]) -> int:
    longest = max((cell_len(column.cell(row)) for row in rows), default=0)
    # A title has room for the sign of the order.
    return min(max(longest, column.width, len(column.title) + bool(column.letter)), column.most)


@dataclass(frozen=True)
class Sorting:
    """The column that a table is sorted by, and in which order."""

    table: Table
    title: str
    descending: bool

    @property
    def field(self) -> str:
        """The attribute of a row that it is sorted by."""
        return self.table.column(self.title).field

    def by(self, column: Column) -> Sorting:
        """Return the order by this column; by the same one again, the other order."""
        if column.title == self.title:
            return self.reversed()
        return replace(self, title=column.title, descending=column.is_number)

    def by_letter(self, letter: str) -> Sorting | None:
        """Return the order that a key stands for, None if it stands for none."""
        for column in self.table.columns:
            if column.letter == letter:
                return self.by(column)
        return None

    def moved(self, steps: int) -> Sorting:
        """Return the order by a column that has a key, so many further to the right."""
        sortable = [column for column in self.table.columns if column.letter]
        index = [column.title for column in sortable].index(self.title) + steps
        return self.by(sortable[index % len(sortable)])

    def reversed(self) -> Sorting:
        """Return the other order."""
        return replace(self, descending=not self.descending)

    def sort(self, rows: Iterable[T]) -> list[T]:
        """Return the rows in this order; those that have no value come last either way."""
        column = self.table.column(self.title)
        found = [*rows]
        known = [row for row in found if column.value(row) is not None]
        unknown = [row for row in found if column.value(row) is None]
        return sorted(known, key=column.value, reverse=self.descending) + unknown


def _slot(slot: int | None) -> str:
    return "broker" if slot is None else str(slot)


def _milliseconds(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f}ms"


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}%"


WORKERS = Table(
    (
        Column("WORKER", "w", "slot", _slot, 6, "Its slot, by which logs call it", is_number=False),
        Column("PID", "d", "pid", or_dash, 7, "Its process"),
        Column(
            "STATE",
            "s",
            "state",
            str,
            8,
            "ready, or what else it is; silent: its loop does not turn",
            is_number=False,
        ),
        Column("AGE", "a", "age", duration, 6, "Since it was started"),
        Column("RESTARTS", "t", "restarts", str, 8, "Earlier workers of this slot"),
        Column("GEN", "g", "generation", or_dash, 3, "Generation of its dynamic config"),
        Column(
            "CONNS",
            "c",
            "connections",
            or_dash,
            6,
            "Open WebSocket connections; of the broker, members of rooms",
        ),
        Column(
            "IN/s",
            "i",
            "received",
            number,
            6,
            "Messages from clients per second; of the broker, those published",
        ),
        Column(
            "OUT/s",
            "o",
            "sent",
            number,
            6,
            "Messages to clients per second; of the broker, to workers",
        ),
        Column("B-IN/s", "b", "bytes_received", size, 7, "Bytes of the messages in IN/s"),
        Column("B-OUT/s", "v", "bytes_sent", size, 7, "Bytes of the messages in OUT/s"),
        Column(
            "LAG", "l", "lag", _milliseconds, 7, "Longest delay of its loop within the last second"
        ),
        Column("CPU", "u", "cpu", _percent, 4, "Its share of a core"),
        Column("MEMORY", "m", "memory", size, 7, "Memory, with its share of shared pages"),
    ),
    ("GEN", "B-OUT/s", "B-IN/s", "RESTARTS", "AGE", "PID", "LAG", "OUT/s", "IN/s", "MEMORY", "CPU"),
)

CONNECTIONS = Table(
    (
        Column("ID", "", "id", str, 4, "Its name in the log", is_number=False),
        Column("PEER", "", "peer", str, 9, "The client's address", is_number=False, most=28),
        Column("USER", "", "user", str, 4, "Who it belongs to", is_number=False),
        Column("PATH", "", "path", str, 5, "The path, without its query", is_number=False),
        Column("AGE", "a", "age_seconds", duration, 6, "Since the handshake"),
        Column("IN", "i", "messages_received", number, 6, "Messages received"),
        Column("OUT", "o", "messages_sent", number, 6, "Messages sent"),
        Column("B-IN", "b", "bytes_received", size, 7, "Bytes of the messages received"),
        Column("B-OUT", "v", "bytes_sent", size, 7, "Bytes of the messages sent"),
        Column("QUEUED", "d", "messages_waiting", number, 6, "Messages that wait for the handler"),
        Column("UNSENT", "u", "bytes_waiting", size, 7, "Bytes that wait for the client"),
    ),
    ("B-IN", "B-OUT", "ID", "AGE", "OUT", "IN", "UNSENT", "QUEUED", "USER", "PATH"),
)
