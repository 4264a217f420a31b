"""The dynamic variables that the service itself reads: userver's that apply here, and ours.

Rules. Every field that is validated here has an effect or, for userver's overload control, will have
one; names of userver that are not here are kept for handlers without being looked at.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mpchat.config.types import OptionsModel
from mpchat.dynamic_config.keys import Key

Milliseconds = Annotated[int, Field(ge=0, le=3_600_000)]


class Limits(OptionsModel):
    """Limits of the whole service; null means none."""

    max_connections: Annotated[
        Annotated[int, Field(ge=0)] | None,
        Field(description="Open WebSocket connections; further handshakes get 503"),
    ] = None


class Keepalive(OptionsModel):
    """Pings to clients (milliseconds); null means the handler's option, 0 turns pings off."""

    interval_ms: Annotated[
        Milliseconds | None, Field(description="Time from an answer to the next ping")
    ] = None
    timeout_ms: Annotated[
        Milliseconds | None, Field(description="Time for the answer; then close code 1011")
    ] = None


class Drain(OptionsModel):
    """How the service stops (milliseconds)."""

    lameduck_ms: Annotated[
        Milliseconds, Field(description="Handshakes and pings get 503 while still accepting")
    ] = 0
    window_ms: Annotated[
        Milliseconds, Field(description="Connections are closed spread over this time")
    ] = 5_000
    deadline_ms: Annotated[Milliseconds, Field(description="What is open then is cut off")] = 10_000


LOG_REQUEST = Key("USERVER_LOG_REQUEST", bool, default=True)
LIMITS = Key("MPCHAT_LIMITS", Limits, default=Limits())
KEEPALIVE = Key("MPCHAT_KEEPALIVE", Keepalive, default=Keepalive())
DRAIN = Key("MPCHAT_DRAIN", Drain, default=Drain())

BUILT_IN_KEYS: tuple[Key[Any], ...] = (LOG_REQUEST, KEEPALIVE, LIMITS, DRAIN)
