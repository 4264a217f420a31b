"""The parser and a ``websockets.asyncio`` server agree on 20,000 streams, however they are cut.

streams draws what clients send, outcomes has both sides receive it, differences says where they may
differ. A failure prints the stream and the cut; the same seeds are drawn in every run.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from websockets.asyncio import messages as assembling
from websockets.asyncio.server import ServerConnection, unix_serve

from mpchat.websocket.assembly import Message
from mpchat.websocket.parser import Parser
from mpchat.websocket.thresholds import Thresholds
from tests.kit.frames import CONT, FINAL, TEXT, frame
from tests.kit.raw import handshake
from tests.mutants import Mutation, mutated
from tests.unit.websocket.compressed import CompressedSource
from tests.unit.websocket.differences import Difference, check_cuts, compare
from tests.unit.websocket.outcomes import Outcome, Scan, answered, record, reference
from tests.unit.websocket.streams import Source, Stream, frames

PARSER = "mpchat.websocket.parser"
PARTIAL = "mpchat.websocket.partial"
_SEEDS = range(8)
_STREAMS = 2_500
_COMPRESSED_STREAMS = 1_500
_FRAGMENTS = 4096
"""More than these in a message are too many for ``websockets``."""


def test_the_number_of_streams() -> None:
    assert len(_SEEDS) * _STREAMS >= 20_000


@pytest.mark.parametrize("seed", _SEEDS)
async def test_parser_and_websockets_agree(seed: int) -> None:
    source, random = Source(seed), Random(seed)
    found: Counter[Difference | None] = Counter()
    for _ in range(_STREAMS):
        stream = source.draw()
        assert len(frames(stream.data)) < _FRAGMENTS
        found[await compare(Parser, stream, random)] += 1
    assert found.total() == _STREAMS
    # Each is shown, and what they explain stays the exception.
    assert all(found[difference] >= 5 for difference in Difference)
    assert found[None] > 0.85 * _STREAMS


@pytest.mark.parametrize("seed", range(2))
async def test_they_agree_on_compressed_streams(seed: int) -> None:
    source, random = CompressedSource(seed), Random(seed)
    found: Counter[Difference | None] = Counter()
    for _ in range(_COMPRESSED_STREAMS):
        found[await compare(Parser, source.draw(), random)] += 1
    assert found[Difference.TEXT_EARLIER] >= 5
    assert found[None] > 0.85 * _COMPRESSED_STREAMS


async def test_any_number_of_fragments_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    # Size, rate and time protect us, not the number of fragments.
    data = frame(TEXT, b"") + frame(CONT, b"a") * _FRAGMENTS + frame(FINAL | CONT, b"z")
    ours = Scan(Parser, Stream(data, 70_000)).outcome
    assert ours == Outcome(("a" * _FRAGMENTS + "z",), (), None)
    assert await reference(Stream(data, 70_000)) == Outcome((), (), 1009)
    monkeypatch.setattr(assembling, "MAX_FRAGMENTS", 2 * _FRAGMENTS)
    assert await reference(Stream(data, 70_000)) == ours


async def test_the_reference_is_what_a_client_of_its_server_sees(tmp_path: Path) -> None:
    messages: list[Message] = []
    ended = asyncio.Event()

    async def handle(connection: ServerConnection) -> None:
        await record(connection, messages)
        ended.set()

    source, closed = Source(0), 0
    for number in range(200):
        stream = source.draw()
        expected = await reference(stream)
        messages.clear()
        ended.clear()
        path = str(tmp_path / str(number))
        async with unix_serve(handle, path, max_size=stream.limit, compression=None):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(handshake("/"))
            await reader.readuntil(b"\r\n\r\n")
            writer.write(stream.data)
            if expected.close is None:
                writer.write_eof()
            output = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            await asyncio.wait_for(ended.wait(), 30)
        assert Outcome(tuple(messages), *answered(output)) == expected
        closed += expected.close is not None
    assert closed >= 50


IN_BULK = Thresholds(buffered_payload=1, large_payload=1)
"""Make every frame a large one; the rest of it is then read into a buffer of its own."""
MASK_IN_PYTHON = Mutation(
    "mpchat.websocket.payload", "", "from websockets import speedups", "raise ImportError"
)


async def test_frames_in_buffers_of_their_own_are_found_like_others() -> None:
    source, random = Source(0), Random(0)
    rests = 0
    for _ in range(_STREAMS):
        stream = source.draw()
        check_cuts(Parser, stream, Scan(Parser, stream), random, IN_BULK)
        rests += Scan(Parser, stream, (len(stream.data) // 2,), in_bulk=IN_BULK).rests
    assert rests > _STREAMS / 10


async def test_the_mask_in_python_where_there_was_no_compiler() -> None:
    without = planted(MASK_IN_PYTHON)
    source, random = Source(1), Random(1)
    for _ in range(_STREAMS // 10):
        stream = source.draw()
        check_cuts(without, stream, Scan(Parser, stream), random, IN_BULK)


@pytest.mark.parametrize(
    ("function", "right", "wrong"),
    [
        pytest.param(
            "Partial.add",
            "self._begin_buffer(self._parts.join())",
            "self._begin_buffer(data)",
            id="what came before there was a buffer is lost",
        ),
        pytest.param(
            "Partial.fill", "rest[count:]", "rest", id="all parts of the rest are put in one place"
        ),
        pytest.param(
            "Parser._keep",
            "self._backlog, self._parsed = bytes(data[position:]), 0",
            "self._backlog, self._parsed = data[position:], 0",
            id="what is left stays in a buffer that others use",
        ),
    ],
)
async def test_planted_mistakes_with_buffers_are_found(
    function: str, right: str, wrong: str
) -> None:
    module = PARSER if function.startswith("Parser.") else PARTIAL
    parser = planted(Mutation(module, function, right, wrong))
    source, random = Source(0), Random(0)
    with pytest.raises((AssertionError, TypeError)):
        for _ in range(_STREAMS):
            stream = source.draw()
            check_cuts(parser, stream, Scan(Parser, stream), random, IN_BULK)


@pytest.mark.parametrize(
    ("function", "right", "wrong"),
    [
        pytest.param(
            "Parser._add",
            "unmask_text(data, start, length)",
            "unmask_text(turned(data, start), start, length)",
            id="wrong mask phase of text",
        ),
        pytest.param(
            "Parser._add",
            "unmask(data, start, length)",
            "unmask(turned(data, start), start, length)",
            id="wrong mask phase of bytes",
        ),
        pytest.param(
            "Parser.feed",
            """isinstance(data, bytes)
            and not self._backlog and self._partial is None and self._assembly is None
            and self._take_whole(data, messages)""",
            """isinstance(data, bytes)
            and not self._backlog and self._partial is None
            and self._take_whole(data, messages)""",
            id="a message within a fragmented one",
        ),
        pytest.param(
            "Parser._take_whole",
            "second - 0x80",
            "second & 0x7F",
            id="a missed lack of the mask",
        ),
        pytest.param(
            "Parser._take_whole",
            "not is_plain or length != size - start or length > self._max_size",
            "not is_plain or length != size - start",
            id="a message beyond the limit",
        ),
        pytest.param(
            "check_header",
            "first & 0x70 and not is_compressed",
            "first & 0x60 and not is_compressed",
            id="a missed RSV bit",
        ),
        pytest.param(
            "Parser._uncommon",
            "assembly.add(payload, final)",
            "assembly.add(payload if final or not assembly.arrived else b'', final)",
            id="a lost continuation",
        ),
        pytest.param(
            "Parser.feed",
            "self._backlog[self._parsed :] + data",
            "data",
            id="a lost beginning of a header",
        ),
    ],
)
async def test_planted_mistakes_are_found(function: str, right: str, wrong: str) -> None:
    module = PARSER if function.startswith("Parser.") else "mpchat.websocket.headers"
    changed = planted(Mutation(module, function, right, wrong))
    source, random = Source(0), Random(0)
    with pytest.raises(AssertionError):
        for _ in range(_STREAMS):
            await compare(changed, source.draw(), random)


def turned(data: bytes | memoryview, start: int) -> bytes:
    """Return a frame whose mask begins with its second byte."""
    mask = bytes(data[start - 4 : start])
    return bytes(data[: start - 4]) + mask[1:] + mask[:1] + bytes(data[start:])


def planted(*mutations: Mutation) -> type[Parser]:
    """Return the parser with these mistakes."""
    module: Any = mutated(*mutations, users=(PARTIAL, PARSER))[PARSER]
    module.turned = turned
    parser_class: type[Parser] = module.Parser
    return parser_class
