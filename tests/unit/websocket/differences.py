"""The parser beside ``websockets``, and where they may differ.

The two must have the same messages, pongs and close code for every stream. Each difference that is meant
is one of ``Difference``, and is no excuse: the bytes are put into the order, or completed to the point,
at which ``websockets`` decides the same question, and then its outcome must equal ours to the last
message. Two more that are meant do not show here:

- Data after a Close: both ignore it. ``Difference.CLOSE_IN_MESSAGE`` is the case in which they do not.
- Replies before Close: the recording handler sends nothing, and ``websockets`` answers a Close before its
  handler has come to the messages before it. tests/functional/test_handlers.py shows our order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from random import Random

from mpchat.websocket.parser import Parser
from mpchat.websocket.thresholds import Thresholds
from tests.kit.frames import CONT, CONTROL, FINAL, frame
from tests.unit.websocket.outcomes import Outcome, Scan, reference
from tests.unit.websocket.streams import Stream, frames

_ALL_CUTS_UP_TO = 200
_PROTOCOL_ERROR, _INVALID_DATA, _TOO_BIG = 1002, 1007, 1009


class Difference(StrEnum):
    """What the parser means to do otherwise."""

    TEXT_EARLIER = "UTF-8 is refused in the fragment that breaks it, not when the message is whole"
    HEADER_EARLIER = "a header that breaks a rule is refused before the payload has come"
    CLOSE_IN_MESSAGE = "a Close in the middle of a message is answered (RFC 6455, 5.4), not refused"
    CONTROL_SIZE = "the size of a control frame does not count into the message it interrupts"


async def compare(parser_class: type[Parser], stream: Stream, random: Random) -> Difference | None:
    """Return which of the differences this stream shows, if any.

    Raises:
        AssertionError: They differ otherwise, or a cut changes what the parser finds.
    """
    whole = Scan(parser_class, stream)
    check_cuts(parser_class, stream, whole, random)
    ours, theirs = whole.outcome, await reference(stream)
    if ours == theirs:
        return None
    for difference, shown in _explanations(parser_class, stream, whole, theirs):
        if await reference(replace(stream, data=shown)) == ours:
            return difference
    raise AssertionError(f"{describe(stream)}\nparser:     {ours}\nwebsockets: {theirs}")


def check_cuts(
    parser_class: type[Parser],
    stream: Stream,
    whole: Scan,
    random: Random,
    in_bulk: Thresholds | None = None,
) -> None:
    """Check that neither cuts nor a small budget change anything, nor buffers for the rest of a frame.

    Every place of a stream of up to 200 bytes is tried; of a longer one, some places. Then: several cuts
    at once, and every byte by itself.
    """
    size = len(stream.data)
    places = range(1, size)
    alone = places if size <= _ALL_CUTS_UP_TO else random.sample(places, 20)
    ways: list[tuple[tuple[int, ...], int]] = [((place,), 64) for place in alone]
    for budget in (1, 2, 3):
        ways.append((tuple(sorted(random.choices(places, k=3))) if size > 1 else (), budget))
    if size <= 2000:
        ways += [(tuple(places), 1), ((), 1)]
    for cuts, budget in ways:
        scan = Scan(parser_class, stream, cuts, budget, in_bulk)
        assert scan.equals(whole), (
            f"{describe(stream)}, cut at {cuts}, {budget} frames at a time\n"
            f"parser:   {scan.outcome}\nuncut: {whole.outcome}"
        )


def describe(stream: Stream) -> str:
    """Return what one needs to try a stream again."""
    return f"Stream(bytes.fromhex({stream.data.hex()!r}), {stream.limit}, {stream.takeover})"


def _explanations(
    parser_class: type[Parser], stream: Stream, whole: Scan, theirs: Outcome
) -> Iterator[tuple[Difference, bytes]]:
    """Yield each difference that may explain it, with what shows ``websockets`` what we have seen."""
    data = stream.data
    close = whole.outcome.close
    if whole.parser.is_over:
        data = data[: _place_of_end(parser_class, stream)]
    if whole.parser.failure is not None:
        data = completed(data, stream.limit)
    if close == _INVALID_DATA:
        yield Difference.TEXT_EARLIER, data
    if close == _PROTOCOL_ERROR and theirs.close is None:
        yield Difference.HEADER_EARLIER, data
    if whole.parser.closed is not None and theirs.close == _PROTOCOL_ERROR:
        yield Difference.CLOSE_IN_MESSAGE, control_first(data)
    if theirs.close == _TOO_BIG:
        last = frames(data)[-1]
        if not whole.parser.is_over and last.first & CONTROL and last.stop > len(data):
            # It has not come to its end and nothing has happened yet, also where it is put now.
            data = data[: last.start]
        yield Difference.CONTROL_SIZE, control_first(data)


def _place_of_end(parser_class: type[Parser], stream: Stream) -> int:
    """Return after how many bytes the parser has come to its end."""
    for size in range(len(stream.data) + 1):
        if Scan(parser_class, replace(stream, data=stream.data[:size])).parser.is_over:
            return size
    raise AssertionError("the parser came to an end only once")


def completed(data: bytes, limit: int) -> bytes:
    """Return the bytes with the last frame, and the message that it belongs to, brought to their end."""
    headers = frames(data)
    while not headers or headers[-1].stop < len(data):
        # The last header itself is cut off; with zeros it says that nothing follows.
        data += b"\0"
        headers = frames(data)
    data += bytes(min(headers[-1].stop - len(data), limit + 4))
    parts = [header.first for header in headers if not header.first & CONTROL]
    return data if not parts or parts[-1] & FINAL else data + frame(FINAL | CONT, b"")


def control_first(data: bytes) -> bytes:
    """Return the frames with control frames put before the message that they interrupt."""
    moved = message = b""
    for header in frames(data):
        one = data[header.start : header.stop]
        if header.first & CONTROL:
            moved += one
        else:
            message += one
            if header.first & FINAL:
                moved, message = moved + message, b""
    return moved + message
