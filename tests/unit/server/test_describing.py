"""What operators are told of connections."""

from __future__ import annotations

from mpchat.ipc.messages import Report
from mpchat.ipc.reports import CONNECTION_NUMBERS
from mpchat.server.describing import NUMBERS


def test_connections_can_be_sorted_by_each_of_their_numbers() -> None:
    assert tuple(NUMBERS) == CONNECTION_NUMBERS
    assert Report().by in NUMBERS
