"""The line per request and the line per closed connection.

Rules. Written if USERVER_LOG_REQUEST says so, left out by the span's name (``http/`` and the component's
name) if USERVER_NO_LOG_SPANS lists it or a prefix of it. Values of headers are ``***`` unless their name
is on the whitelist: nothing secret gets into a log by accident. Each handler has a logger of its own, so
its lines can be made more or less without touching others.
"""

from __future__ import annotations

import logging
from typing import Any

from websockets.http11 import Request

from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import (
    LOG_REQUEST,
    LOG_REQUEST_HEADERS,
    LOG_REQUEST_HEADERS_WHITELIST,
    NO_LOG_SPANS,
)

_nowhere = logging.getLogger("mpchat.handlers")


def log_request(
    snapshot: Snapshot,
    handler: HandlerBase | None,
    request: Request,
    status: int,
    peer: Any,
    connection: str,
) -> None:
    """Write the line of a request; ``handler`` is None where no path was found."""
    if not _wanted(snapshot, handler):
        return
    text = f"{request.method} {request.path} {status} from {describe_peer(peer)}"
    if snapshot[LOG_REQUEST_HEADERS]:
        shown = {name.lower() for name in snapshot[LOG_REQUEST_HEADERS_WHITELIST]}
        headers = (
            f"{name}: {value if name.lower() in shown else '***'}"
            for name, value in request.headers.raw_items()
        )
        text += "; " + ", ".join(headers)
    _logger(handler).info("%s", text, extra={"connection": connection})


def log_closed(
    snapshot: Snapshot, handler: HandlerBase, code: int | None, seconds: float, connection: str
) -> None:
    """Write the line of a WebSocket connection that has ended."""
    if _wanted(snapshot, handler):
        text = "closed %s after %.3f s"
        _logger(handler).info(text, code, seconds, extra={"connection": connection})


def describe_peer(peer: Any) -> str:
    """Return a client's address for a reader."""
    if not isinstance(peer, tuple):
        return "unix socket"
    host = peer[0].removeprefix("::ffff:")
    return f"[{host}]:{peer[1]}" if ":" in host else f"{host}:{peer[1]}"


def _logger(handler: HandlerBase | None) -> logging.Logger:
    return handler.logger if handler is not None else _nowhere


def _wanted(snapshot: Snapshot, handler: HandlerBase | None) -> bool:
    if not snapshot[LOG_REQUEST]:
        return False
    if handler is None:
        return True
    span = f"http/{handler.name}"
    left_out = snapshot[NO_LOG_SPANS]
    return span not in left_out.names and not span.startswith(tuple(left_out.prefixes))
