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

from mpchat.websocket import headers as headers_module
from mpchat.websocket import scanner as scanner_module
from mpchat.websocket.assembly import Message
from mpchat.websocket.scanner import Scanner
from tests.functional.raw import handshake
from tests.unit.websocket.compressed import CompressedSource
from tests.unit.websocket.differences import Difference, check_cuts, compare
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


IN_BULK = (
    ("self.is_bulk = self.has_buffers = False", "self.is_bulk, self.has_buffers = False, True"),
    ("_BULK = 16 * 1024", "_BULK = 1"),
    ("_LARGE = 4096", "_LARGE = 1"),
    ("_BEYOND = 1024", "_BEYOND = 9"),
)
"""Makes every frame a large one, of which the rest is read into a buffer of its own."""


async def test_frames_in_buffers_of_their_own_are_found_like_others() -> None:
    in_bulk = _changed(*IN_BULK)
    source, random = Source(0), Random(0)
    rests = 0
    for _ in range(_STREAMS):
        stream = source.draw()
        check_cuts(in_bulk, stream, Scan(Scanner, stream), random)
        rests += Scan(in_bulk, stream, (len(stream.data) // 2,)).rests
    assert rests > _STREAMS / 10


async def test_the_mask_in_python_where_there_was_no_compiler() -> None:
    without = _changed(*IN_BULK, ("    from websockets import speedups", "    raise ImportError"))
    source, random = Source(1), Random(1)
    for _ in range(_STREAMS // 10):
        stream = source.draw()
        check_cuts(without, stream, Scan(Scanner, stream), random)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param(
            "return frame[: len(frame) - _BEYOND - self._missing]",
            "return frame[: len(frame) - _BEYOND]",
            id="what was read beyond the frame is lost",
        ),
        pytest.param(
            "self.rest = rest[count:]", "self.rest = rest", id="the rest is put in one place"
        ),
        pytest.param(
            """if position < end:
                self._backlog = bytes(data[position:])""",
            """if position < end:
                self._backlog = data[position:]""",
            id="what is left is in a buffer that others use",
        ),
    ],
)
async def test_planted_mistakes_with_buffers_are_found(right: str, wrong: str) -> None:
    planted = _changed(*IN_BULK, (right, wrong))
    source, random = Source(0), Random(0)
    with pytest.raises((AssertionError, TypeError)):
        for _ in range(_STREAMS):
            stream = source.draw()
            check_cuts(planted, stream, Scan(Scanner, stream), random)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param(
            "apply_mask(masked, data[start - 4 : start])",
            "apply_mask(masked, data[start - 3 : start] + data[start - 4 : start - 3])",
            id="wrong mask phase",
        ),
        pytest.param(
            "apply_mask(data[start:], data[start - 4 : start])",
            "apply_mask(data[start:], data[start - 3 : start] + data[start - 4 : start - 3])",
            id="wrong mask phase in a read that is one frame",
        ),
        pytest.param(
            "and self._assembly is None\n        ):",
            "\n        ):",
            id="a message within a fragmented one",
        ),
        pytest.param(
            "start = 6 if second - 0x80 == size - 6 else 0",
            "start = 6 if second & 0x7F == size - 6 else 0",
            id="a missed lack of the mask",
        ),
        pytest.param(
            "if start and length <= self._max_size:",
            "if start:",
            id="a message beyond the limit",
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
    planted = _changed((right, wrong))
    source, random = Source(0), Random(0)
    with pytest.raises(AssertionError):
        for _ in range(_STREAMS):
            await compare(planted, source.draw(), random)


def _changed(*changes: tuple[str, str]) -> type[Scanner]:
    """Return the scanner of today's source with something in it changed, such as a mistake planted."""
    rules, source = (
        Path(str(module.__file__)).read_text() for module in (headers_module, scanner_module)
    )
    for old, new in changes:
        assert rules.count(old) + source.count(old) == 1, f"not one {old!r} now: change it anew"
        rules, source = rules.replace(old, new), source.replace(old, new)
    source = source.replace("from mpchat.websocket.headers import", "from changed_headers import")
    modules = {"changed_headers": ModuleType("changed_headers"), "changed": ModuleType("changed")}
    # Dataclasses look their module up.
    sys.modules.update(modules)
    try:
        exec(compile(rules, "changed_headers", "exec"), vars(modules["changed_headers"]))
        exec(compile(source, "changed", "exec"), vars(modules["changed"]))
    finally:
        for name in modules:
            del sys.modules[name]
    scanner_class: type[Scanner] = modules["changed"].Scanner
    return scanner_class
