"""Reading a room's messages where some are missing: exactly those that are stored, in their order.

Rules. A replica that is behind answers as if there were nothing, also for a message that was just seen
live; so an answer that ends too early is repeated, and in the end the leader is asked. A replica that
hangs does not answer at all, and the next question may go to another one. What is returned has no holes;
whether it goes far enough is for the caller to see, who gave the limits.
"""

from __future__ import annotations

import asyncio

from mpchat.jetstream.api import Api
from mpchat.jetstream.errors import ConnectionLost, Unavailable
from mpchat.jetstream.messages import Stored

TRIES = 6
"""Answers in a row that bring nothing, before the leader is asked, or it is given up."""
_FIRST_PAUSE = 0.01
"""Seconds before the first repetition; twice as many before the next."""
_ANSWER_LIMIT = 1.0
"""Seconds for an answer of a replica."""
_MOST_IN_BATCH, _MOST_BYTES_IN_BATCH = 1000, 1024 * 1024
"""In one answer: NATS sends it without looking whether we keep up."""
_ALL = 1 << 53


class _Found:
    """What was read so far, up to ``upto``, and within the limits."""

    def __init__(self, after: int, upto: int, most_messages: int, most_bytes: int) -> None:
        self.messages: list[Stored] = []
        self.next = after + 1
        self._upto = upto
        self.messages_left, self.bytes_left = most_messages, most_bytes
        self.is_complete = self.messages_left <= 0 or self.next > upto

    def take(self, message: Stored) -> None:
        size = len(message.data)
        # One message is always within the limit, or a caller that reads on would get nowhere.
        if message.seq > self._upto or (self.messages and size > self.bytes_left):
            self.is_complete = True
            return
        self.messages.append(message)
        self.next = message.seq + 1
        self.messages_left -= 1
        self.bytes_left -= size
        if message.seq == self._upto or self.messages_left <= 0:
            self.is_complete = True


async def fill(
    api: Api,
    token: str,
    after: int,
    upto: int,
    *,
    most_messages: int = _ALL,
    most_bytes: int = _ALL,
) -> list[Stored]:
    """Return the messages of a room behind sequence ``after``, up to its message ``upto``.

    Of more than ``most_messages``, or ``most_bytes`` of data, the oldest are returned, at least one.

    Raises:
        Unavailable: Neither the replicas nor the leader have answered.
    """
    found = _Found(after, upto, most_messages, most_bytes)
    in_vain = 0
    while not found.is_complete:
        before = found.next
        is_short = await _read(api, token, found)
        if found.next > before:
            in_vain = 0
        elif not found.is_complete:
            in_vain += 1
            if in_vain < TRIES:
                if is_short:
                    await asyncio.sleep(_FIRST_PAUSE * 2 ** (in_vain - 1))
                continue
            await _read_from_leader(api, token, found)
    return found.messages


async def _read(api: Api, token: str, found: _Found) -> bool:
    """Read on; return whether there was an answer."""
    try:
        batch = await api.batch(
            token,
            found.next,
            messages=min(_MOST_IN_BATCH, found.messages_left),
            max_bytes=max(1, min(_MOST_BYTES_IN_BATCH, found.bytes_left)),
            timeout=_ANSWER_LIMIT,
        )
    except ConnectionLost:
        raise
    except Unavailable:
        return False
    for message in batch.messages:
        if not found.is_complete:
            found.take(message)
    return True


async def _read_from_leader(api: Api, token: str, found: _Found) -> None:
    """Read one message more; when the leader has none, there is none."""
    message = await api.leader_next(token, found.next)
    if message is None:
        found.is_complete = True
    else:
        found.take(message)


async def newest(api: Api, token: str, most: int) -> list[Stored]:
    """Return the last ``most`` messages of a room, oldest first.

    Answers say how many messages the room has behind them: where the last ones begin is found by that, in
    as many answers as the sequences between have binary digits.

    Raises:
        Unavailable: There is no answer.
    """
    last = await api.leader_last(token) if most > 0 else None
    if last is None:
        return []
    # Behind ``low`` and with it there are more than ``most``, from ``high`` on not.
    low, high = 0, last.seq
    while high - low > 1:
        middle = (low + high) // 2
        count = await _count(api, token, middle)
        if count > most:
            low = middle
        else:
            high = middle
        if count == most:
            break
    found = await fill(api, token, high - 1, last.seq)
    return found[-most:]


async def _count(api: Api, token: str, seq: int) -> int:
    """Return how many messages a room has from sequence ``seq`` on, as some replica has them."""
    for _ in range(TRIES):
        try:
            batch = await api.batch(token, seq, messages=1, max_bytes=1, timeout=_ANSWER_LIMIT)
        except ConnectionLost:
            raise
        except Unavailable:
            continue
        return len(batch.messages) + batch.pending
    raise Unavailable(f"no replica of {api.subjects.stream} has answered {TRIES} times")


async def anchor(api: Api, seq: int, at_ms: int) -> bool:
    """Return whether the stream has a message with this sequence and time, of whichever room.

    Sequences come again with other messages when a stream goes back to what it was, after a restore or a
    loss of power: only the time tells. ``at_ms``: milliseconds since 1970; 0: any.

    Raises:
        Unavailable: Neither a replica nor the leader has answered.
    """
    try:
        found = await api.message(seq, timeout=_ANSWER_LIMIT)
    except ConnectionLost:
        raise
    except Unavailable:
        found = None
    if found is None:
        found = await api.leader_message(seq)
    return found is not None and at_ms in {0, found.at_ms}
