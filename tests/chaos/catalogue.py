"""All tortures, in the order of the page."""

from __future__ import annotations

from tests.chaos import balance, crashes, drains, ends, hangs, mistakes, restarts, rooms

TORTURES = (
    *restarts.TORTURES,
    *crashes.TORTURES,
    *hangs.TORTURES,
    *mistakes.TORTURES,
    *balance.TORTURES,
    *drains.TORTURES,
    *ends.TORTURES,
    *rooms.TORTURES,
)
