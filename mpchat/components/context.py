"""What a handler knows beside the connection itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from mpchat.dynamic_config.snapshot import Snapshot

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


class Context:
    """What belongs to one connection or plain request, from its beginning to its end.

    Attributes:
        id: Its name in the log.
        stopping: An ``asyncio.Event``, set when the worker begins to end: begin nothing long any more.
        path_params: Values of ``{name}`` parts of the path, percent-decoded.
        body: The body of a plain request, bytes; empty for a handshake.
    """

    # What most handlers do not use is made when it is: ten thousand idle connections have a context.
    __slots__ = (
        "_data",
        "_response_headers",
        "_snapshot",
        "body",
        "id",
        "path_params",
        "stopping",
    )

    def __init__(
        self,
        name: str,
        stopping: asyncio.Event,
        snapshot: Callable[[], Snapshot],
        body: bytes = b"",
    ) -> None:
        self.id = name
        self.stopping = stopping
        self.path_params = _NO_PARAMS
        self.body = body
        self._snapshot = snapshot
        self._data: dict[str, Any] | None = None
        self._response_headers: list[tuple[str, str]] | None = None

    @property
    def data(self) -> dict[str, Any]:
        """A dict of the author's own; nothing of ours looks into it."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def response_headers(self) -> list[tuple[str, str]]:
        """A list of names with values, added to the handshake's response."""
        if self._response_headers is None:
            self._response_headers = []
        return self._response_headers

    @property
    def config(self) -> Snapshot:
        """The dynamic config as it is now: read it once per operation, keep nothing of it."""
        return self._snapshot()
