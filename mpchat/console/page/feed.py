"""The live page's WebSocket: a picture of the service, then what is new, once a second.

Rules. A page says nothing: whatever it sends ends its connection. All pages get the same texts, each
made once. A browser that does not take them is cut off; the page comes back with a new picture. Memory
and rooms cost more than a look at the scoreboard: they are asked for only while somebody looks.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import WSCloseCode, web

from mpchat.console.knowledge import Knowledge
from mpchat.console.page.history import History
from mpchat.console.page.reading import take_reading
from mpchat.ipc.channel import ChannelClosed
from mpchat.ipc.control import ControlError
from mpchat.ipc.messages import Event, ReportRooms
from mpchat.ipc.reports import BY_MESSAGES, gather_reports
from mpchat.linux.accounting import pss_bytes
from mpchat.scoreboard.status import SAMPLE_SECONDS

MAX_VIEWERS = 64
_UNSENT = 10
"""Texts, so seconds, that may wait for a browser."""
_ROOMS = 10
_PING_SECONDS = 20.0
_CLOSE_SECONDS = 0.3
"""Seconds for a browser to answer a Close frame."""
_MESSAGE_BYTES = 1024


@dataclass(frozen=True)
class Pace:
    """Seconds between two samples, and two questions."""

    sample: float = SAMPLE_SECONDS
    memory: float = 5.0
    rooms: float = 2.0


class Viewer:
    """One page, and the texts that it has not taken yet."""

    def __init__(self, socket: web.WebSocketResponse, cut: Callable[[], None]) -> None:
        """``cut`` ends its connection without waiting for anything."""
        self.socket = socket
        self._cut = cut
        self._unsent: asyncio.Queue[str] = asyncio.Queue(_UNSENT)

    def show(self, text: str) -> None:
        """Send a text, or cut off a browser that is too far behind."""
        try:
            self._unsent.put_nowait(text)
        except asyncio.QueueFull:
            self._cut()

    async def send(self) -> None:
        """Send what there is, until the connection ends."""
        try:
            while True:
                await self.socket.send_str(await self._unsent.get())
        except ConnectionError:
            return  # Whoever receives from it sees its end, too.


class Feed:
    """Samples the service each second, and shows it to the pages that are open."""

    def __init__(
        self,
        known: Knowledge,
        pace: Pace = Pace(),
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._known = known
        self._pace = pace
        self._clock = clock
        self._wall_clock = wall_clock
        self._history = History()
        self._viewers: set[Viewer] = set()
        self._watched = asyncio.Event()
        self._memory: dict[int, int] = {}
        self._rooms: list[dict[str, Any]] | None = None
        self._unsaid = 0
        """Events since the last second"""
        self._picture: str | None = None
        """Of the last second, once somebody has asked for it"""
        known.events.listen(self._on_event)

    @property
    def viewers(self) -> int:
        """How many pages are open."""
        return len(self._viewers)

    async def run(self) -> None:
        """Sample until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sample())
            tasks.create_task(self._measure())
            tasks.create_task(self._ask())

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Show the service to a page until either leaves."""
        socket = web.WebSocketResponse(
            timeout=_CLOSE_SECONDS,
            heartbeat=_PING_SECONDS,
            compress=False,
            max_msg_size=_MESSAGE_BYTES,
        )
        await socket.prepare(request)
        if len(self._viewers) >= MAX_VIEWERS:
            reason = f"{MAX_VIEWERS} pages are open already"
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=reason.encode())
            return socket
        transport = request.transport
        if transport is None:
            return socket  # It has left.
        viewer = Viewer(socket, transport.abort)
        viewer.show(self.picture())
        self._viewers.add(viewer)
        self._watched.set()
        sending = asyncio.create_task(viewer.send())
        try:
            await socket.receive()
        finally:
            sending.cancel()
            self._viewers.discard(viewer)
            if not self._viewers:
                self._watched.clear()
        await socket.close()
        return socket

    async def close(self, _app: web.Application) -> None:
        """Tell all pages that the console ends."""
        closing = [
            asyncio.create_task(viewer.socket.close(code=WSCloseCode.GOING_AWAY))
            for viewer in self._viewers
        ]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_SECONDS)

    def tick(self) -> None:
        """Take the numbers of one more second, and show them."""
        known = self._known
        known.status.sample()
        self._history.add(take_reading(known.board, known.status, self._memory, self._clock()))
        self._picture = None
        if self._viewers:
            news = {**self._moment(), "second": self._history.last(), "events": self._new_events()}
            text = json.dumps(news)
            for viewer in self._viewers:
                viewer.show(text)
        self._unsaid = 0

    def picture(self) -> str:
        """Return the service as of the last second, with the minutes before."""
        if self._picture is None:
            events = [asdict(event) for event in self._known.events]
            # What has happened since comes with the next second.
            said = events[: max(0, len(events) - self._unsaid)]
            picture = {**self._moment(), "history": self._history.whole(), "events": said}
            self._picture = json.dumps(picture)
        return self._picture

    def _moment(self) -> dict[str, Any]:
        known = self._known
        config = known.config
        return {
            "at": self._wall_clock(),
            "status": known.status.collect(self._memory.get),
            "limits": [asdict(one) for one in self._history.reached()],
            "rooms": self._rooms,
            "config": None
            if config is None
            else {
                "generation": config.generation,
                "since": config.since,
                "reload_failure": config.reload_failure and asdict(config.reload_failure),
                "restart_failure": config.restart_failure and asdict(config.restart_failure),
                "update_failure": config.update_failure and asdict(config.update_failure),
            },
        }

    def _new_events(self) -> list[dict[str, Any]]:
        if not self._unsaid:
            return []
        return [asdict(event) for event in list(self._known.events)[-self._unsaid :]]

    def _on_event(self, _event: Event) -> None:
        self._unsaid += 1

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time()
        while True:
            self.tick()
            at += self._pace.sample
            if at <= loop.time():
                # The console stood still: what was missed is not made up for.
                at = loop.time() + self._pace.sample
            await asyncio.sleep(at - loop.time())

    async def _measure(self) -> None:
        """Read how much memory each process has, in a thread: the system takes milliseconds for each."""
        while True:
            await self._watched.wait()
            pids = self._known.status.pids()
            self._memory = await asyncio.to_thread(_measured, pids)
            await asyncio.sleep(self._pace.memory)

    async def _ask(self) -> None:
        """Ask the broker for the busiest rooms."""
        while True:
            await self._watched.wait()
            try:
                found = await gather_reports(self._known.orders, ReportRooms(BY_MESSAGES, _ROOMS))
                self._rooms = found.rows if found.reporters else None
            except (ControlError, ChannelClosed, OSError):
                # No rooms, no broker at the moment, or no supervisor: the page shows no list.
                self._rooms = None
            await asyncio.sleep(self._pace.rooms)


def _measured(pids: list[int]) -> dict[int, int]:
    return {pid: size for pid in pids if (size := pss_bytes(pid)) is not None}
