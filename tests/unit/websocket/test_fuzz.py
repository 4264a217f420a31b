"""Random streams of frames, to connections as well; ``make fuzz`` tries more of them, for minutes."""

from __future__ import annotations

from collections import Counter

import pytest

from mpchat.websocket.connection import WebSocketConnection
from tests.fuzz import frames
from tests.fuzz.comparing import Mistake
from tests.unit.websocket.rig import Handle

_STREAMS = 200


async def test_connections_echo_what_the_parser_finds() -> None:
    differences: Counter[str] = Counter()
    run = frames.Frames(0)
    for _ in range(_STREAMS):
        await run.compare(differences)
    assert differences


async def _echo_changed(chat: WebSocketConnection) -> None:
    async for message in chat:
        await chat.send(message[1:])


async def _echo_once(chat: WebSocketConnection) -> None:
    await chat.send(await chat.recv())


@pytest.mark.parametrize("handle", [_echo_changed, _echo_once])
async def test_a_wrong_answer_is_found(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "echo", handle)
    run = frames.Frames(0)
    with pytest.raises(Mistake):
        for _ in range(_STREAMS):
            await run.compare(Counter())
