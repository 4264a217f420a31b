"""The life of a connection, from its 101 response to the end of its socket: phases and events. Pure.

Rules. TABLE alone says how a connection moves from one phase to another. It has no default cell: a pair
that cannot happen is missing, and raises. ``life`` reports events and does what the cell says, in its
order. Phases are in the order of a life, so ``<`` reads as "before", and no cell leads back.

Theory of operation. A client ends its input with a Close or with a mistake (RFC 6455, 7.1.5 and 7.1.7).
Messages that came before are answered first: answers are OWED. We end with a Close of our own, and are
CLOSING until the client's arrives. When both sides have said all, the socket is LINGERING: half-closed,
and read to the client's end of file, because closing it at once would reset what is under way.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import NamedTuple


class Phase(IntEnum):
    """One at a time."""

    OPEN = auto()
    """Messages pass in both directions."""
    DRAINING = auto()
    """The worker ends: we read no more, and send our Close when all that was read is answered."""
    OWED = auto()
    """The client has ended its input, and some messages are not answered: only answers still leave."""
    CLOSING = auto()
    """Our Close has left first: nothing may follow it, and we wait for the client's."""
    LINGERING = auto()
    """The WebSocket is over; the socket is half-closed and read to its end of file."""
    LOST = auto()
    """The socket is gone."""


OPEN, DRAINING, OWED, CLOSING, LINGERING, LOST = Phase
"""Names for the hot path: Python 3.11 takes long to find a member of an enum."""


class Event(IntEnum):
    """What happens to a connection."""

    INPUT_ENDED = auto()
    """The client's Close or mistake was parsed, and no answer is owed."""
    INPUT_ENDED_EARLY = auto()
    """The same while the handler has messages to take or to answer."""
    CAUGHT_UP = auto()
    """The handler has answered every message, or sends more than answers."""
    CLOSE = auto()
    """The handler has closed or ended, or a limit closes in order."""
    DRAIN = auto()
    """The worker ends."""
    FAIL = auto()
    """The client is beyond a limit, or answers no ping."""
    TIMEOUT = auto()
    """close-timeout is over."""
    ABORT = auto()
    """The server or a limit does not wait for this client any longer."""
    END_OF_FILE = auto()
    """The client sends nothing more, not even a Close."""
    LOST = auto()
    """The socket is closed."""


class Action(IntEnum):
    """What is done about it."""

    STOP_READING = auto()
    HOLD_BACK = auto()
    """Send answers only, then the Close that answers the client's: after close-timeout at the latest."""
    ANSWER = auto()
    """Write the Close that answers the client's, with its code (RFC 6455, 5.5.1), or its mistake."""
    SEND_CLOSE = auto()
    """Write our Close, with the code and reason that came with the event."""
    AWAIT_CLIENT = auto()
    """Read on, for close-timeout after the client last took something."""
    FINISH = auto()
    """Count the connection out, and tell all who wait for its end."""
    HALF_CLOSE = auto()
    """Write an end of file behind everything; close the socket if the client has written its own."""
    CLOSE_SOCKET = auto()
    """Close it when what was written has left."""
    ABORT_SOCKET = auto()
    """Close it now."""
    RELEASE = auto()
    """Finish, and end the connection with its handler; in a later turn if this one is spent."""


class Cell(NamedTuple):
    """The next phase, and what is done on the way to it."""

    phase: Phase
    actions: tuple[Action, ...] = ()


_OVER = (Action.FINISH, Action.HALF_CLOSE)
_ANSWERED = Cell(Phase.LINGERING, (Action.ANSWER, *_OVER))
_FAILED = Cell(Phase.LINGERING, (Action.SEND_CLOSE, *_OVER))
_HELD_BACK = Cell(Phase.OWED, (Action.HOLD_BACK,))
_CLOSED = Cell(Phase.CLOSING, (Action.SEND_CLOSE, Action.AWAIT_CLIENT))
_GONE = Cell(Phase.LOST, (Action.RELEASE,))

TABLE: dict[tuple[Phase, Event], Cell] = {
    (Phase.OPEN, Event.INPUT_ENDED): _ANSWERED,
    (Phase.OPEN, Event.INPUT_ENDED_EARLY): _HELD_BACK,
    (Phase.OPEN, Event.CAUGHT_UP): Cell(Phase.OPEN),
    (Phase.OPEN, Event.CLOSE): _CLOSED,
    (Phase.OPEN, Event.DRAIN): Cell(Phase.DRAINING, (Action.STOP_READING,)),
    (Phase.OPEN, Event.FAIL): _FAILED,
    (Phase.OPEN, Event.ABORT): Cell(Phase.OPEN, (Action.ABORT_SOCKET,)),
    (Phase.OPEN, Event.END_OF_FILE): Cell(Phase.OPEN, (Action.CLOSE_SOCKET,)),
    (Phase.OPEN, Event.LOST): _GONE,
    # What was read before a drain is still parsed, so all ends of OPEN are possible.
    (Phase.DRAINING, Event.INPUT_ENDED): _ANSWERED,
    (Phase.DRAINING, Event.INPUT_ENDED_EARLY): _HELD_BACK,
    (Phase.DRAINING, Event.CAUGHT_UP): _CLOSED,
    (Phase.DRAINING, Event.CLOSE): _CLOSED,
    (Phase.DRAINING, Event.DRAIN): Cell(Phase.DRAINING),
    (Phase.DRAINING, Event.FAIL): _FAILED,
    (Phase.DRAINING, Event.ABORT): Cell(Phase.DRAINING, (Action.ABORT_SOCKET,)),
    (Phase.DRAINING, Event.END_OF_FILE): Cell(Phase.DRAINING, (Action.CLOSE_SOCKET,)),
    (Phase.DRAINING, Event.LOST): _GONE,
    # The client has closed before, whoever closes now: it gets its own code back (7.1.5).
    (Phase.OWED, Event.CAUGHT_UP): _ANSWERED,
    (Phase.OWED, Event.CLOSE): _ANSWERED,
    (Phase.OWED, Event.TIMEOUT): _ANSWERED,
    (Phase.OWED, Event.DRAIN): Cell(Phase.OWED),
    (Phase.OWED, Event.FAIL): _FAILED,
    (Phase.OWED, Event.ABORT): Cell(Phase.OWED, (Action.ABORT_SOCKET,)),
    # It may still read its answers.
    (Phase.OWED, Event.END_OF_FILE): Cell(Phase.OWED),
    (Phase.OWED, Event.LOST): _GONE,
    # The client's Close, or a mistake in its place: nothing more has to be said (7.1.4).
    (Phase.CLOSING, Event.INPUT_ENDED): Cell(Phase.LINGERING, _OVER),
    (Phase.CLOSING, Event.CAUGHT_UP): Cell(Phase.CLOSING),
    (Phase.CLOSING, Event.CLOSE): Cell(Phase.CLOSING),
    (Phase.CLOSING, Event.DRAIN): Cell(Phase.CLOSING),
    (Phase.CLOSING, Event.FAIL): Cell(Phase.CLOSING),
    (Phase.CLOSING, Event.TIMEOUT): Cell(Phase.CLOSING, (Action.ABORT_SOCKET,)),
    (Phase.CLOSING, Event.ABORT): Cell(Phase.CLOSING, (Action.ABORT_SOCKET,)),
    (Phase.CLOSING, Event.END_OF_FILE): Cell(Phase.CLOSING, (Action.CLOSE_SOCKET,)),
    (Phase.CLOSING, Event.LOST): _GONE,
    (Phase.LINGERING, Event.CAUGHT_UP): Cell(Phase.LINGERING),
    (Phase.LINGERING, Event.CLOSE): Cell(Phase.LINGERING),
    (Phase.LINGERING, Event.DRAIN): Cell(Phase.LINGERING),
    (Phase.LINGERING, Event.FAIL): Cell(Phase.LINGERING),
    (Phase.LINGERING, Event.TIMEOUT): Cell(Phase.LINGERING, (Action.ABORT_SOCKET,)),
    (Phase.LINGERING, Event.ABORT): Cell(Phase.LINGERING, (Action.ABORT_SOCKET,)),
    (Phase.LINGERING, Event.END_OF_FILE): Cell(Phase.LINGERING, (Action.CLOSE_SOCKET,)),
    (Phase.LINGERING, Event.LOST): _GONE,
    # The handler may live on, and the server knows the connection until it has ended.
    (Phase.LOST, Event.CAUGHT_UP): Cell(Phase.LOST),
    (Phase.LOST, Event.CLOSE): Cell(Phase.LOST),
    (Phase.LOST, Event.DRAIN): Cell(Phase.LOST),
    (Phase.LOST, Event.FAIL): Cell(Phase.LOST),
    (Phase.LOST, Event.ABORT): Cell(Phase.LOST),
}

MOVABLE = frozenset((Phase.OPEN, Phase.DRAINING))
"""Before an end begins, another worker can go on with a connection. A drain is this worker's own."""
