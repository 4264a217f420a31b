"""The connections of all workers, for an author's code in any of them."""

from __future__ import annotations

from typing import Any

from mpchat.components.component import Component, Components
from mpchat.ipc.closing import IDENTITY_GONE, check_close
from mpchat.ipc.messages import Report


class Connections(Component):
    """The open WebSocket connections of the whole service: ``components.find(Connections)``.

    Every service has it, without a section. A worker that does not answer within two seconds is logged,
    and its connections are missing.
    """

    name = "mpchat-connections"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._host = components.host

    async def find(
        self, *, user: str | None = None, tag: str | None = None
    ) -> list[dict[str, Any]]:
        """Return a row for each connection of a user, or with a tag, or both; without either, for all.

        A row has the fields of ``mpchat connections --json``.
        """
        return await self._host.report(Report(user, tag))

    async def close(
        self,
        *,
        user: str | None = None,
        tag: str | None = None,
        code: int = IDENTITY_GONE,
        reason: str = "",
    ) -> int:
        """Close the connections of a user, or with a tag, or both; return how many.

        Returns when every worker has begun; ``recv`` of their handlers then raises ConnectionClosed. A
        handshake that is being decided on at that moment is not found: first see to it that the user is
        refused from now on.

        Raises:
            ValueError: Neither user nor tag, or a code or reason that a Close cannot have.
        """
        if user is None and tag is None:
            raise ValueError("expected a user or a tag: this closes nobody")
        if mistake := check_close(code, reason):
            raise ValueError(mistake)
        return len(await self._host.report(Report(user, tag, code, reason)))
