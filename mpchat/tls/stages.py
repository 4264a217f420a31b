"""The stages of a TLS connection.

Rules. They are in the order of a life, so ``<`` reads as "before". REFUSED leads to OVER only.
"""

from __future__ import annotations

from enum import IntEnum, auto


class Stage(IntEnum):
    """One at a time."""

    NEW = auto()
    """The ClientHello is not whole."""
    SHAKING = auto()
    """The handshake has begun."""
    REFUSED = auto()
    """It has failed, and the client may read why."""
    OPEN = auto()
    """Bytes pass in both directions."""
    ENDED = auto()
    """The client sends nothing more."""
    SHUT = auto()
    """Nor do we: what still comes is dropped."""
    OVER = auto()
    """The socket is being closed, or is gone."""


NEW, SHAKING, REFUSED, OPEN, ENDED, SHUT, OVER = map(int, Stage)
"""Their numbers, for the hot path."""
