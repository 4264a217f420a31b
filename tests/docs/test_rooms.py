"""docs/rooms.md: its classes serve, and its tables have every reason and every code."""

from __future__ import annotations

import re
import time
from typing import Any

import mpchat
from mpchat.rooms.protocol import CloseCode, Reason
from mpchat.testing import serve
from tests.docs.pages import ROOT, blocks

PAGE = (ROOT / "docs" / "rooms.md").read_text()


def classes() -> dict[str, Any]:
    found = {name: getattr(mpchat, name) for name in mpchat.__all__}
    found |= {"Any": Any, "time": time, "__name__": "page"}
    texts = [block.text for block in blocks(PAGE) if block.language == "python"]
    assert len(texts) == 2
    for text in texts:
        exec(compile(text, "rooms.md", "exec"), found)
    return found


async def test_its_handlers_serve() -> None:
    found = classes()
    components: dict[type[mpchat.Component], dict[str, Any]] = {
        mpchat.Rooms: {"history-memory": 2 * 1024 * 1024},
        found["Members"]: {"path": "/rooms/{room}"},
        found["Chat"]: {"path": "/chat/{room}"},
    }
    async with serve(components) as worker:
        client = worker.websocket_client
        async with client.get("rooms/staff") as refused:
            await refused.wait_closed()
            assert refused.close_code == 4403
        async with client.get("rooms/a") as one, client.get("chat/a") as other:
            # In the room, once it hears itself.
            await other.send("hello")
            assert await other.recv() == "hello"
            await one.send("hi")
            assert await other.recv() == "hi"


def test_every_reason_and_every_code_is_told() -> None:
    first = " ".join(re.findall(r"^\| (.+?) \|", PAGE, re.M))
    assert [reason for reason in Reason if f"`{reason.value}`" not in first] == []
    assert [code for code in CloseCode if str(code.value) not in first] == []
