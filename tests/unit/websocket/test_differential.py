"""The scanner and a ``websockets.asyncio`` server agree on 20,000 streams, however they are cut.

streams draws what clients send, outcomes has both sides receive it, differences says where they may
differ. A failure prints the stream and the cut; the same seeds are drawn in every run.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
from websockets.asyncio import messages as assembling
from websockets.asyncio.server import ServerConnection, unix_serve

from mpchat.websocket import scanner as scanner_module
from mpchat.websocket.assembly import Message
from mpchat.websocket.scanner import Scanner
from tests.functional.raw import handshake
from tests.unit.websocket.compressed import CompressedSource
from tests.unit.websocket.differences import Difference, compare
from tests.unit.websocket.outcomes import Outcome, Scan, answered, record, reference
from tests.unit.websocket.streams import CONT, FINAL, TEXT, Source, Stream, frame, frames

_SEEDS = range(8)
_STREAMS = 2_500
_COMPRESSED_STREAMS = 1_500
_FRAGMENTS = 4096
"""More than these in a message are too many for ``websockets``."""


def test_the_number_of_streams() -> None:
    assert len(_SEEDS) * _STREAMS >= 20_000


@pytest.mark.parametrize("seed", _SEEDS)
async def test_scanner_and_websockets_agree(seed: int) -> None:
    source, random = Source(seed), Random(seed)
    found: Counter[Difference | None] = Counter()
    for _ in range(_STREAMS):
        stream = source.draw()
        assert len(frames(stream.data)) < _FRAGMENTS
        found[await compare(Scanner, stream, random)] += 1
    assert found.total() == _STREAMS
    # Each is shown, and what they explain stays the exception.
    assert all(found[difference] >= 5 for difference in Difference)
    assert found[None] > 0.85 * _STREAMS


@pytest.mark.parametrize("seed", range(2))
async def test_they_agree_on_compressed_streams(seed: int) -> None:
    source, random = CompressedSource(seed), Random(seed)
    found: Counter[Difference | None] = Counter()
    for _ in range(_COMPRESSED_STREAMS):
        found[await compare(Scanner, source.draw(), random)] += 1
    assert found[Difference.TEXT_EARLIER] >= 5
    assert found[None] > 0.85 * _COMPRESSED_STREAMS


async def test_any_number_of_fragments_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    # Size, rate and time protect us, not the number of fragments.
    data = frame(TEXT, b"") + frame(CONT, b"a") * _FRAGMENTS + frame(FINAL | CONT, b"z")
    ours = Scan(Scanner, Stream(data, 70_000)).outcome
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


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param(
            "apply_mask(masked, data[start - 4 : start])",
            "apply_mask(masked, data[start - 3 : start] + data[start - 4 : start - 3])",
            id="wrong mask phase",
        ),
        pytest.param("if first & 0x70 and", "if first & 0x60 and", id="a missed RSV bit"),
        pytest.param(
            "assembly.add(payload, final)",
            "assembly.add(payload if final or not assembly.arrived else b'', final)",
            id="a lost continuation",
        ),
        pytest.param(
            "data = self._backlog + data if data else self._backlog",
            "data = data or self._backlog",
            id="a lost beginning of a header",
        ),
    ],
)
async def test_planted_mistakes_are_found(right: str, wrong: str) -> None:
    planted = _planted(right, wrong)
    source, random = Source(0), Random(0)
    with pytest.raises(AssertionError):
        for _ in range(_STREAMS):
            await compare(planted, source.draw(), random)


def _planted(right: str, wrong: str) -> type[Scanner]:
    """Return the scanner of today's source with one mistake in it."""
    source = Path(scanner_module.__file__).read_text()
    assert source.count(right) == 1, "scanner.py says it otherwise now: plant the mistake anew"
    module = ModuleType("planted")
    # Dataclasses look their module up.
    sys.modules["planted"] = module
    try:
        exec(compile(source.replace(right, wrong), "planted", "exec"), vars(module))
    finally:
        del sys.modules["planted"]
    scanner_class: type[Scanner] = module.Scanner
    return scanner_class
