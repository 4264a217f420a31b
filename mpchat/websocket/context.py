"""What a handler knows beside the connection itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mpchat.dynamic_config.snapshot import Snapshot


@dataclass(slots=True)
class Context:
    """One connection's surroundings, from handshake to end.

    Attributes:
        id: The connection's name in the log.
        data: The author's own, nothing of ours looks into it.
        stopping: Set when the worker begins to end.
        path_params: Values of ``{name}`` parts of the path.
        body: The body of a plain request, empty for a handshake.
        response_headers: Headers to add to the handshake's response.
    """

    id: str
    stopping: asyncio.Event
    path_params: dict[str, str]
    snapshot: Callable[[], Snapshot]
    body: bytes = b""
    data: dict[str, Any] = field(default_factory=dict)
    response_headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def config(self) -> Snapshot:
        """The dynamic config as it is now; read once per operation."""
        return self.snapshot()
