"""Waiting for the members of rooms: a client is told that it is connected before it is in its room.

Rules. The broker is asked: whom it has counted gets all that is published from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

from mpchat.testsuite.service import DEADLINE

_INTERVAL = 0.01
"""Seconds between two questions"""
_REQUEST = {"verb": "rooms", "limit": 100_000}
_LONGEST = 2**24
"""Bytes of an answer: as many rooms with long names"""


class Memberships:
    """The members of the rooms of the service under test, in all workers."""

    _seconds = DEADLINE
    """Longest time until a room has its members"""

    def __init__(self, control_socket: Path) -> None:
        self._control_socket = control_socket

    async def joined(self, room: str, count: int) -> None:
        """Wait until a room has exactly so many members; what is said from then on, all of them get.

        It is also for those who leave: 0 waits until nobody is there.

        Raises:
            TimeoutError: It came to have another number; the text has it, or why nobody knows it.
        """
        end = time.monotonic() + self._seconds
        while (found := await self._count(room)) != count:
            if time.monotonic() > end:
                there = found if isinstance(found, str) else f"there are {found}"
                raise TimeoutError(
                    f"room {room!r} did not have {count} members within {self._seconds:g} s: {there}"
                )
            await asyncio.sleep(_INTERVAL)

    async def _count(self, room: str) -> int | str:
        """Return how many members there are now, or why nobody knows."""
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._ask()
        except TimeoutError:
            return "the service does not answer"
        except (OSError, ValueError) as error:
            return f"the service does not answer: {error}"
        if not answer["ok"]:
            return str(answer["error"])
        counts = {row["room"]: row["members"] for row in answer["rooms"]}
        return int(counts.get(room, 0))

    async def _ask(self) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self._control_socket, limit=_LONGEST)
        try:
            writer.write(json.dumps(_REQUEST).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await reader.readline())
            return answer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
