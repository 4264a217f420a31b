"""What operators are told of open connections.

Rules. The loop stands still meanwhile, and a worker may have many connections: with a limit, those that
are left out cost a look at one number each.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from mpchat.http.target import shown_target
from mpchat.websocket.protocol import WebSocketProtocol

_SHOWN_PATH = 256
"""Characters of a path that operators see."""

NUMBERS: Final[Mapping[str, Callable[[WebSocketProtocol, float], float]]] = {
    "age_seconds": lambda protocol, now: round(now - protocol.since, 3),
    "messages_received": lambda protocol, _now: protocol.parser.received,
    "messages_sent": lambda protocol, _now: protocol.outgoing.sent,
    "bytes_received": lambda protocol, _now: protocol.parser.received_bytes,
    "bytes_sent": lambda protocol, _now: protocol.outgoing.sent_bytes,
    "messages_waiting": lambda protocol, _now: len(protocol.incoming.messages),
    "bytes_waiting": lambda protocol, _now: protocol.outgoing.backlog,
}
"""The numbers of a connection, by the second in which they are read."""


def rows(
    connections: Iterable[WebSocketProtocol], now: float, by: str, limit: int | None
) -> list[dict[str, Any]]:
    """Return a row for each connection; with a limit, for those with most of the number ``by``."""
    if limit is not None:
        order = NUMBERS[by]
        connections = heapq.nlargest(
            max(0, limit), connections, key=lambda protocol: order(protocol, now)
        )
    return [_row(protocol, now) for protocol in connections]


def _row(protocol: WebSocketProtocol, now: float) -> dict[str, Any]:
    return {
        "id": protocol.context.id,
        "peer": str(protocol.client),
        "user": protocol.context.user,
        "tags": sorted(protocol.context.tags),
        "path": shown_target(protocol.target)[:_SHOWN_PATH],
        **{name: number(protocol, now) for name, number in NUMBERS.items()},
    }
