"""Messages as NATS delivers them, and what a stream says of those it stores.

Rules. A publisher may send headers with the names of the server's, which come behind them: only the last
header of a name counts. A status is one only in a message that no stream has stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from mpchat.jetstream.errors import Malformed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_NOTHING: Mapping[str, str] = {}


class Message(NamedTuple):
    """What came on a subscription.

    Attributes:
        headers: The last one of each name.
    """

    subject: str
    data: bytes
    headers: Mapping[str, str] = _NOTHING

    def header(self, name: str) -> str:
        """Return the last header of this name, "" if there is none."""
        return self.headers.get(name, "")

    @property
    def status(self) -> str:
        """The server's status, such as 404; "" in a message that somebody has published."""
        # nats-py shows the status as a header, which a publisher may send, too. It does not come with
        # what is stored, and there the server names the stream.
        return "" if "Nats-Stream" in self.headers else self.headers.get("Status", "")


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of the stream.

    Attributes:
        token: The room's.
        seq: The sequence in the stream.
        at_ms: When it was stored, in milliseconds since 1970.
    """

    token: str
    seq: int
    at_ms: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Live(Stored):
    """A message that the stream republished as it stored it.

    Attributes:
        prev: Sequence of the room's message before; 0 if none was stored then.
    """

    prev: int


def live_of(message: Message) -> Live:
    """Return what a message of a live subscription is.

    Raises:
        Malformed: The stream did not send it.
    """
    token = message.subject.rpartition(".")[2]
    headers = message.headers
    try:
        return Live(
            token,
            int(headers["Nats-Sequence"]),
            milliseconds_of(headers["Nats-Time-Stamp"]),
            message.data,
            int(headers["Nats-Last-Sequence"]),
        )
    except (KeyError, ValueError) as error:
        text = f"a message on {message.subject} lacks the stream's headers: who may publish there?"
        raise Malformed(text) from error


def stored_of(token: str, message: Message) -> Stored:
    """Return what a message of a Direct Get is.

    Raises:
        Malformed: The stream did not send it.
    """
    headers = message.headers
    try:
        return Stored(
            token,
            int(headers["Nats-Sequence"]),
            milliseconds_of(headers["Nats-Time-Stamp"]),
            message.data,
        )
    except (KeyError, ValueError) as error:
        text = f"an answer about {token} lacks the stream's headers: who may publish to inboxes?"
        raise Malformed(text) from error


def milliseconds_of(timestamp: str) -> int:
    """Return the milliseconds since 1970 of ``2026-11-29T01:28:40.354397839Z``, rounded down.

    Raises:
        ValueError: It is no such time.
    """
    moment = datetime.fromisoformat(timestamp)
    if moment.tzinfo is None:
        raise ValueError(f"a time without its zone: {timestamp}")
    return (moment - _EPOCH) // _MILLISECOND
