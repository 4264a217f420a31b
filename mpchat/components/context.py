"""The context of a connection or request: what its handler may know besides the messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from mpchat.dynamic_config.snapshot import Snapshot

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


class Context:
    """The context of one connection or plain request, which lives as long as that does.

    Attributes:
        id: The name of the connection or request in the log.
        stopping: An ``asyncio.Event``, set when the worker begins to end: start nothing long after it.
        path_params: Values of ``{name}`` parts of the path, percent-decoded.
        body: The body of a plain request, bytes; empty for a handshake.
    """

    # Rare parts are made on first use: ten thousand idle connections have a context each.
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
        """A dict for the author; the server never reads it."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def response_headers(self) -> list[tuple[str, str]]:
        """A list of names with values, added to the handshake's response."""
        if self._response_headers is None:
            self._response_headers = []
        return self._response_headers

    def added_headers(self) -> list[tuple[str, str]]:
        """Return what ``response_headers`` has: most connections add none, and keep no list for it."""
        return [] if self._response_headers is None else self._response_headers

    @property
    def config(self) -> Snapshot:
        """The current dynamic config: read it once per operation, and keep no value of it."""
        return self._snapshot()
