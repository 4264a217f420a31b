"""The middle of the screens: workers, rooms, last changes; the connections of a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from mpchat.cli.quantities import count, duration, number, size, word
from mpchat.cli.top.choices import Choices
from mpchat.cli.top.columns import CONNECTIONS, WORKERS, Column
from mpchat.cli.top.drawing import Grid, Size, cropped, packed
from mpchat.cli.top.history import SECONDS, Seen
from mpchat.cli.top.rows import Connection, Health, Row

LEAST_SPARKLINE = 8
"""Characters of a sparkline that shows something."""
MOST_CONNECTIONS = 200
"""Connections that are shown: a worker may have very many."""
_MOST_SPARKLINE = 60
_MOST_ROOM = 40
_ROOMS = 5
_CHANGES = 4
_SLOW_MS = 100.0
"""The delay of a loop that people begin to notice."""
_BUSY_PERCENT = 90.0
_STYLES = {Health.FINE: "green", Health.CHANGING: "yellow", Health.BAD: "bold red"}


@dataclass(frozen=True)
class Details:
    """What was asked for beside the status.

    Attributes:
        rooms: The busiest, first the one with most messages.
        no_rooms: Why they are not known; empty if they are.
        slot: Whose connections these are.
        connections: In any order.
        no_connections: Why they are not known; empty if they are.
    """

    rooms: Sequence[dict[str, Any]] = ()
    no_rooms: str = ""
    slot: int | None = None
    connections: Sequence[Connection] = ()
    no_connections: str = ""


def overview(seen: Seen, details: Details, choices: Choices, within: Size) -> list[Text]:
    """Return the tables of workers and rooms, and the last changes.

    The workers have at least half of the height, and the rest what they leave.
    """
    rows = choices.workers.sort(seen.workers)
    rooms, changes = _rooms(seen, details, within.width), list(_changes(seen))
    table = _Workers(seen, rows, choices, within)
    if within.height is None:
        return [Text(), *table.lines(0, len(rows)), *rooms, *changes]
    room = within.height - 1 - table.others
    height = min(len(rows), max(1, room - len(rooms) - len(changes), (room + 1) // 2))
    first = max(0, min(choices.chosen(rows) - height // 2, len(rows) - height))
    above = Text()
    if height < len(rows):
        above.append(f"workers {first + 1} to {first + height} of {len(rows)}", style="dim")
    left = max(0, room - height)
    of_rooms = min(len(rooms), left - min(len(changes), left // 2))
    # Titles without a row say nothing.
    rooms = rooms[: 2 if of_rooms == 3 else of_rooms]
    changes = changes[: left - len(rooms)]
    return [above, *table.lines(first, height), *rooms, *changes]


class _Workers:
    """The table of workers.

    Attributes:
        others: Lines that are not those of workers.
    """

    def __init__(self, seen: Seen, rows: Sequence[Row], choices: Choices, within: Size) -> None:
        self._seen = seen
        self._rows = rows
        self._within = within
        self._mark = choices.chosen(rows) if within.height is not None else None
        self._margin = 0 if self._mark is None else 2
        self._others = [seen.broker] if seen.broker is not None else []
        self._away = sum(worker["state"] == "away" for worker in seen.answer["workers"])
        self.others = 1 + len(self._others) + (self._away > 0)
        every = [*rows, *self._others]
        width = within.width - self._margin
        room = width - within.gap - LEAST_SPARKLINE
        self._grid = Grid(WORKERS, choices.workers, every, room, within)
        self._sparkline = min(_MOST_SPARKLINE, width - self._grid.width - within.gap)
        recent = seen.recent.values()
        self._most = max((value for one in recent for _at, value in one), default=0.0)

    def lines(self, first: int, height: int) -> Iterator[Text]:
        """Return titles, so many workers, and the others."""
        title = Text(" " * self._margin).append_text(self._grid.titles())
        if self._sparkline >= LEAST_SPARKLINE:
            title.append(" " * self._within.gap)
            title.append(f"{SECONDS / 60:.0f} MIN", "bold")
        yield title
        for index in range(first, first + height):
            line = self._line(self._rows[index], "> " if index == self._mark else "")
            if index == self._mark:
                line.pad_right(max(0, self._within.width - line.cell_len))
                line.stylize("reverse")
            yield line
        for other in self._others:
            yield self._line(other, "")
        if self._away:
            yield Text(f"{' ' * self._margin}{count(self._away, 'slot')} scaled away", "dim")

    def _line(self, row: Row, mark: str) -> Text:
        line = Text(mark.ljust(self._margin))
        line.append_text(self._grid.line(row, lambda column: _style(column, row)))
        if self._sparkline >= LEAST_SPARKLINE and row.slot is not None:
            samples = self._seen.recent.get(row.slot, ())
            shown = self._within.sparkline(samples, self._seen.at, self._sparkline, self._most)
            line.append(" " * self._within.gap).append(shown, "cyan")
        return line


def _style(column: Column, row: Row) -> str:
    """Return the style of a worker's cell."""
    if column.title == "STATE":
        return _STYLES[row.health]
    if column.title == "LAG" and row.lag is not None and row.lag >= _SLOW_MS:
        return "yellow"
    if column.title == "CPU" and row.cpu is not None and row.cpu >= _BUSY_PERCENT:
        return "yellow"
    return ""


def _rooms(seen: Seen, details: Details, width: int) -> list[Text]:
    """Return the table of rooms, none for a service without rooms."""
    broker = seen.answer["broker"]
    if broker is None:
        return []
    about = [Text(count(broker["rooms"], "room"), style="bold")]
    if broker["engine"] == "nats":
        lost = broker["stream_lost_seconds"]
        up = Text("stream up")
        about.append(up if lost is None else Text(f"NO STREAM for {duration(lost)}", "bold red"))
    elif broker["history_bytes"]:
        used, most = size(broker["history_bytes_used"]), size(broker["history_bytes"])
        about.append(Text(f"history {used} of {most}"))
    if behind := broker["workers_behind"]:
        about.append(Text(f"{count(behind, 'worker')} behind", style="yellow"))
    if details.no_rooms:
        about.append(Text(details.no_rooms, style="yellow"))
    rows = [
        (word(room["room"]), str(room["members"]), number(room["messages_per_second"]))
        for room in details.rooms[:_ROOMS]
    ]
    lines = [Text(), *packed(about, width)]
    if rows:
        longest = max(cell_len(name) for name, _members, _rate in rows)
        own = max(4, min(longest, _MOST_ROOM, width - 20))
        lines.append(Text(f"{'ROOM'.ljust(own)}  MEMBERS    IN/s", style="bold"))
        lines += [
            Text(f"{set_cell_size(cropped(name, own), own)}  {members:>7}  {rate:>6}")
            for name, members, rate in rows
        ]
    return lines


def _changes(seen: Seen) -> Iterator[Text]:
    """Return the last changes, the newest first."""
    if seen.changes:
        yield Text()
        for wall, text in seen.changes[:_CHANGES]:
            yield Text.assemble((wall, "dim"), "  ", text)


def connections(
    seen: Seen, details: Details, choices: Choices, slot: int, within: Size
) -> list[Text]:
    """Return the table of the connections of a slot's worker."""
    worker = seen.worker_of(slot)
    if worker is None:
        return [Text(), Text(f"slot {slot} has no worker", style="bold yellow")]
    rows = choices.connections.sort(details.connections if details.slot == slot else ())
    opened = worker.connections or 0
    about = [
        Text(f"{worker.name} pid {worker.pid}", style="bold"),
        Text(count(opened, "connection")),
    ]
    if len(rows) >= MOST_CONNECTIONS:
        about.append(Text(f"the {len(rows)} with most {choices.connections.title}"))
    if details.no_connections:
        about.append(Text(details.no_connections, style="yellow"))
    grid = Grid(CONNECTIONS, choices.connections, rows, within.width, within)
    lines = [Text(), *packed(about, within.width), grid.titles()]
    first = min(choices.scrolled, max(0, len(rows) - 1))
    return lines + [grid.line(row, lambda _column: "") for row in rows[first:]]
