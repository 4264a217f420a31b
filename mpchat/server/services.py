"""What every client of a worker uses, the same for all of them and as long as the worker lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from websockets.server import ServerProtocol

from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import GRACEFUL_SHUTDOWN_HEADERS
from mpchat.http.head import HeadLimits
from mpchat.http.responses import Dates
from mpchat.server.access_log import AccessLog
from mpchat.server.admission import Admission
from mpchat.server.bodies import Bodies
from mpchat.server.forwarded import Forwarding
from mpchat.server.overload import Overload
from mpchat.server.routes import Routes
from mpchat.server.waits import Times
from mpchat.websocket.shared import Shared


@dataclass(frozen=True)
class ClientServices:
    """The parts of a worker's server that answer clients.

    Attributes:
        negotiators: For each WebSocket handler, by name, what agrees on subprotocol and extensions;
            None if it has neither.
        max_request_size: The most bytes of a body, for handlers that have no limit of their own.
        timeout: Limits what follows to so many seconds, as ``asyncio.timeout``.
        stopping: Set when the worker begins to end; handlers see it as ``context.stopping``.
        ids: Names for connections, unique among the living workers.
        forwarding: Finds out whom a request is from; None where the socket says it.
        overload: Limits the requests of a busy worker; None where the config has no section for it.
        secure: Whether clients speak TLS with the worker itself.
        certified: Whether all of them have certificates, too.
    """

    loop: asyncio.AbstractEventLoop
    times: Times
    timeout: Callable[[float], AbstractAsyncContextManager[object]]
    routes: Routes
    head_limits: HeadLimits
    max_request_size: int
    bodies: Bodies
    negotiators: Mapping[str, ServerProtocol | None]
    admission: Admission
    access: AccessLog
    dates: Dates
    shared: Shared
    snapshot: Callable[[], Snapshot]
    stopping: asyncio.Event
    ids: Iterator[str]
    forwarding: Forwarding | None
    overload: Overload | None
    secure: bool
    certified: bool

    def stop_headers(self, *, refusing: bool) -> list[tuple[str, str]]:
        """Return the headers of every answer while the service stops (GRACEFUL_SHUTDOWN_HEADERS)."""
        if not refusing:
            return []
        wanted = self.snapshot()[GRACEFUL_SHUTDOWN_HEADERS]
        if not wanted.enabled:
            return []
        return [(name, ", ".join(values)) for name, values in wanted.headers.items()]
