"""The rooms that operators ask about: those with most members, or most messages.

Rules. The broker stands still meanwhile, so a room with one member, as most are where there are many, is
only looked at if there are not enough others.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from mpchat.broker.members import Room, Solo, total_of
from mpchat.ipc.reports import BY_MEMBERS, BY_MESSAGES


def busiest(
    rooms: Mapping[bytes, Solo | Room], rates: Mapping[bytes, float], by: str, limit: int
) -> list[dict[str, Any]]:
    """Return a row for each of at most ``limit`` rooms, largest first.

    Args:
        rooms: Those with members.
        rates: Messages a second, of rooms that have any.
        by: BY_MEMBERS; anything else means BY_MESSAGES.
        limit: The most rows.
    """
    limit = max(0, limit)
    found = {name: _row(name, rooms, rates) for name in rates}
    found |= {name: _row(name, rooms, rates) for name in islice(_others(rooms, found, by), limit)}
    first, second = BY_MESSAGES, BY_MEMBERS
    if by == second:
        first, second = second, first
    return heapq.nlargest(
        limit, found.values(), key=lambda row: (row[first], row[second], row["room"])
    )


def _others(
    rooms: Mapping[bytes, Solo | Room], found: Mapping[bytes, object], by: str
) -> Iterator[bytes]:
    """Return rooms without messages, as far as they may be among the largest."""
    if by == BY_MEMBERS:
        shared = (name for name, room in rooms.items() if isinstance(room, Room))
        yield from sorted(shared, key=lambda name: -total_of(rooms[name]))
    yield from (name for name in rooms if name not in found)


def _row(
    name: bytes, rooms: Mapping[bytes, Solo | Room], rates: Mapping[bytes, float]
) -> dict[str, Any]:
    room = rooms.get(name)
    return {
        "room": name.decode(errors="replace"),
        BY_MEMBERS: 0 if room is None else total_of(room),
        BY_MESSAGES: round(rates.get(name, 0.0), 1),
    }
