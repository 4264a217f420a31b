"""The connection lines: one for each request, refused head or socket, and closed connection.

Rules. USERVER_LOG_REQUEST turns these lines on; USERVER_NO_LOG_SPANS leaves out a handler by the name of
its span (``http/`` and the component's name) or a prefix of it. No secret is logged by accident: lines
have only the path of a target, and header values are ``***`` unless their names are on the whitelist.
Each handler has its own logger, with its own level; if ``logger_access`` names a logger, that one writes
the lines that the handler's level lets through.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import (
    LOG_REQUEST,
    LOG_REQUEST_HEADERS,
    LOG_REQUEST_HEADERS_WHITELIST,
    NO_LOG_SPANS,
)
from mpchat.http.errors import HttpError
from mpchat.http.head import Head
from mpchat.http.target import shown_target
from mpchat.logs.levels import find_logger
from mpchat.websocket.client import Client

_nowhere = logging.getLogger("mpchat.handlers")


class AccessLog:
    """The connection lines of one worker."""

    def __init__(self, snapshot: Callable[[], Snapshot], name: str | None) -> None:
        self._snapshot = snapshot
        self._access = find_logger(name) if name else None

    def request(
        self,
        handler: HandlerBase | None,
        head: Head,
        status: int,
        client: Client,
        reason: str = "",
    ) -> None:
        """Write the line of a request; ``handler`` is None if no handler was found.

        ``reason`` says why the request was refused, and repeats nothing that the client sent.
        """
        snapshot = self._snapshot()
        logger = self._logger(snapshot, handler)
        if logger is None:
            return
        text = f"{head.method} {shown_target(head.target)} {status} from {client}"
        if reason:
            text += f": {reason}"
        if snapshot[LOG_REQUEST_HEADERS]:
            shown = {name.lower() for name in snapshot[LOG_REQUEST_HEADERS_WHITELIST]}
            headers = (
                f"{name}: {value if name.lower() in shown else '***'}"
                for name, value in head.request.headers.raw_items()
            )
            text += "; " + ", ".join(headers)
        logger.info("%s", text)

    def refused(self, error: HttpError, client: Client, connection: str) -> None:
        """Write the line of bytes that are not a request."""
        logger = self._logger(self._snapshot(), None)
        if logger is not None:
            text = "no request: %d, %s, from %s"
            extra = {"connection": connection}
            logger.info(text, error.status, error.text, client, extra=extra)

    def closed_early(self, reason: str, client: Client, connection: str) -> None:
        """Write the line of a socket that was closed before HTTP; ``client`` is its other end."""
        logger = self._logger(self._snapshot(), None)
        if logger is not None:
            extra = {"connection": connection}
            logger.info("closed before HTTP: %s, from %s", reason, client, extra=extra)

    def closed(
        self, handler: HandlerBase, code: int | None, seconds: float, connection: str
    ) -> None:
        """Write the line of a WebSocket connection that has ended."""
        logger = self._logger(self._snapshot(), handler)
        if logger is not None:
            extra = {"connection": connection}
            logger.info("closed %s after %.3f s", code, seconds, extra=extra)

    def _logger(self, snapshot: Snapshot, handler: HandlerBase | None) -> logging.Logger | None:
        """Return the logger for a line, or None if the line is left out."""
        logger = handler.logger if handler is not None else _nowhere
        if not (logger.isEnabledFor(logging.INFO) and snapshot[LOG_REQUEST]):
            return None
        if handler is not None:
            span = f"http/{handler.name}"
            left_out = snapshot[NO_LOG_SPANS]
            if span in left_out.names or span.startswith(tuple(left_out.prefixes)):
                return None
        return self._access or logger
