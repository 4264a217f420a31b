"""The stages of a client's socket until it is a WebSocket, and how long each may last. Pure.

Rules. A socket is in one stage at a time. What precedes HTTP on a socket, as a PROXY header does (see
arriving), is over before ACCEPTED. A client that does not take the next step in time is dealt with as
TIMEOUTS says.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass

from mpchat.server.options import ServerOptions

_LINGER = 2.0
"""Seconds for a client to close its side after reading the last response."""


class Stage(enum.IntEnum):
    """What a socket is doing. From LINGERING on, no request is answered any more."""

    ACCEPTED = enum.auto()
    """Its transport is being made"""
    FRESH = enum.auto()
    """Nothing has come yet"""
    HEAD = enum.auto()
    """A part of a request head has come"""
    BODY = enum.auto()
    """A head and a part of its body have come"""
    ANSWERING = enum.auto()
    """A request is being answered, or others that came with it wait in line for their turn"""
    BLOCKED = enum.auto()
    """The client does not read its answers; until it does, nothing is read from it"""
    IDLE = enum.auto()
    """Everything is answered, and nothing of another request has come"""
    LINGERING = enum.auto()
    """Our side is closed; what comes is dropped, up to the client's end of file"""
    GONE = enum.auto()
    """The socket is closed, or belongs to a WebSocket"""


ACCEPTED, FRESH, HEAD, BODY, ANSWERING, BLOCKED, IDLE, LINGERING, GONE = Stage
"""Names for the hot path: Python 3.11 takes long to find a member of an enum."""

_LATER = frozenset({HEAD, BODY, ANSWERING, BLOCKED, LINGERING, GONE})

NEXT: dict[Stage, frozenset[Stage]] = {
    ACCEPTED: frozenset({FRESH, GONE}),
    FRESH: _LATER,
    # A request that has begun is answered, with 408 or 400 if it stays incomplete.
    HEAD: _LATER,
    BODY: _LATER - {HEAD},
    ANSWERING: _LATER | {IDLE},
    BLOCKED: _LATER | {IDLE},
    IDLE: _LATER,
    LINGERING: frozenset({GONE}),
    GONE: frozenset(),
}
"""The stages that may follow each one, besides itself."""


class End(enum.Enum):
    """What is done with a client that took too long."""

    REFUSE = enum.auto()
    """Answer 408, and close"""
    HALF_CLOSE = enum.auto()
    """Close our side without an answer"""
    ABORT = enum.auto()
    """Cut the client off"""


@dataclass(frozen=True)
class Timeout:
    """The longest time in one stage.

    Attributes:
        seconds: Returns it from the options.
        limit: The counter of those that it ends, one of LIMITS; None if that is the usual end.
    """

    seconds: Callable[[ServerOptions], float]
    end: End
    limit: str | None = None


TIMEOUTS: dict[Stage, Timeout] = {
    FRESH: Timeout(lambda options: options.handshake_timeout, End.HALF_CLOSE, "handshake-timeout"),
    # From the head's first byte: later ones do not extend it.
    HEAD: Timeout(lambda options: options.handshake_timeout, End.REFUSE, "handshake-timeout"),
    BODY: Timeout(lambda options: options.body_timeout, End.REFUSE, "body-timeout"),
    # Only write-timeout ends it.
    BLOCKED: Timeout(lambda _options: math.inf, End.ABORT),
    IDLE: Timeout(lambda options: options.listener.connection.keepalive_timeout, End.HALF_CLOSE),
    LINGERING: Timeout(lambda _options: _LINGER, End.ABORT),
}
"""The times of the stages in which the server waits for the client."""
