"""What a handler knows beside the connection itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mpchat.dynamic_config.snapshot import Snapshot


@dataclass(slots=True)
class Context:
    """What belongs to one connection or plain request, from its beginning to its end.

    Attributes:
        id: Its name in the log.
        stopping: An ``asyncio.Event``, set when the worker begins to end: begin nothing long any more.
        path_params: Values of ``{name}`` parts of the path, percent-decoded.
        body: The body of a plain request, bytes; empty for a handshake.
        data: A dict of the author's own; nothing of ours looks into it.
        response_headers: A list of names with values, added to the handshake's response.
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
        """The dynamic config as it is now: read it once per operation, keep nothing of it."""
        return self.snapshot()
