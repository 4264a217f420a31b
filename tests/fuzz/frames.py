"""Random streams of frames: to our parser, to a ``websockets`` server, and to a connection of ours.

Rules. The streams and the judgement are those of the differential test. A connection gets each stream
besides, cut anywhere, and echoes: its answers must be the messages that the parser found, or the first of
them where the stream has an end.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from mpchat.websocket.assembly import Message
from mpchat.websocket.deflate import Agreement
from mpchat.websocket.parser import Parser
from mpchat.websocket.thresholds import Thresholds
from tests.fuzz.comparing import Mistake
from tests.kit.frames import CONTROL, FINAL, TEXT
from tests.unit.websocket.compressed import BITS, RSV1, CompressedSource
from tests.unit.websocket.differences import check_cuts, compare, describe
from tests.unit.websocket.outcomes import Scan
from tests.unit.websocket.rig import Kept, Worker, echo, in_callback
from tests.unit.websocket.streams import Source, Stream, frames

_END = b"\x00\x00\xff\xff"
"""What the end of a compressed message leaves out"""
_SHOWN = 4000
"""Letters of a stream and of an error; the seed makes the rest."""
_MAX_TURNS = 2000
"""Of the loop, for a connection to answer and to end."""
_IN_BULK = Thresholds(buffered_payload=1, large_payload=1)
"""Have the rest of each frame read into a buffer of its own."""


class Frames:
    """One run; the same seed draws the same streams and cuts."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._plain, self._compressed = Source(seed), CompressedSource(seed)

    async def compare(self, differences: Counter[str]) -> None:
        """Draw a stream, have it decided on, and count the differences that have a name.

        Raises:
            Mistake: One has none.
        """
        drawn = self._random
        stream = (self._plain if drawn.random() < 0.6 else self._compressed).draw()
        try:
            difference = await compare(Parser, stream, drawn)
            whole = Scan(Parser, stream)
            check_cuts(Parser, stream, whole, drawn, _IN_BULK)
            for thresholds in (Thresholds(), _IN_BULK):
                count = 0 if whole.parser.is_over else len(whole.messages)
                echoed = await self._echoed(stream, thresholds, count)
                # What ends a connection may overtake answers.
                expected = whole.messages[: len(echoed)]
                assert len(echoed) >= count, f"echoed only: {echoed}"
                assert echoed == expected
        except Exception as error:  # whatever it is, it is of this stream
            raise Mistake(f"{describe(stream)[:_SHOWN]}: {error!r:.{_SHOWN}}") from error
        if difference is not None:
            differences[difference.value] += 1

    async def _echoed(self, stream: Stream, thresholds: Thresholds, count: int) -> list[Message]:
        """Return what a connection answers to this stream in pieces; at least so many messages."""
        worker, transport = Worker(), _Transport()
        if stream.takeover is not None:
            worker.agreement = Agreement(BITS, BITS, stream.takeover, stream.takeover)
        worker.go_by(thresholds)
        protocol = worker.serve(transport, echo, **{"max-remote-payload": stream.limit})
        size, counters = len(stream.data), worker.counters
        cuts = sorted(self._random.randint(0, size) for _ in range(self._random.randrange(6)))
        try:
            for start, stop in pairwise((0, *cuts, size)):
                await _turns(lambda: transport.reading or transport.is_over)
                await in_callback(partial(transport.receive, stream.data[start:stop]))
            await _turns(lambda: transport.is_over or counters.messages_sent >= count)
        finally:
            await in_callback(partial(protocol.connection_lost, None))
        await _turns(lambda: not counters.connections)
        return _messages(b"".join(transport.writes), takeover=stream.takeover)


async def _turns(condition: Callable[[], object]) -> None:
    """Let the loop turn until the condition holds.

    Raises:
        TimeoutError: It does not.
    """
    for _ in range(_MAX_TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise TimeoutError("a connection neither answers nor ends")


class _Transport(Kept):
    """Gives what is received to whichever protocol there is, as the loop would."""

    is_over = False

    def receive(self, data: bytes) -> None:
        while data and not self.is_over:
            protocol: Any = self._protocol
            if hasattr(protocol, "get_buffer"):
                buffer = memoryview(protocol.get_buffer(-1))
                count = min(len(buffer), len(data))
                buffer[:count] = data[:count]
                protocol.buffer_updated(count)
            else:
                count = len(data)
                protocol.data_received(data)
            data = data[count:]

    def write_eof(self) -> None:
        self.is_over = True

    def close(self) -> None:
        self.is_over = True

    def abort(self) -> None:
        self.is_over = True


def _messages(output: bytes, *, takeover: bool | None) -> list[Message]:
    """Return the messages that a server sent, whose frames are whole."""
    messages: list[Message] = []
    inflater = zlib.decompressobj(-BITS)
    first, joined = 0, b""
    for header in frames(output):
        if header.first & CONTROL:
            continue
        first = first or header.first
        joined += output[header.stop - header.length : header.stop]
        if not header.first & FINAL:
            continue
        if first & RSV1:
            if not takeover:
                inflater = zlib.decompressobj(-BITS)
            joined = inflater.decompress(joined + _END)
        messages.append(joined.decode() if first & 0x0F == TEXT else joined)
        first, joined = 0, b""
    return messages
