"""Takes the pictures of the live page: ``python -m tests.browser.console_screenshot docs``.

It takes five minutes, since the page shows as many.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.browser.chat import chromium
from tests.browser.console import LivePage, WatchedChat

if TYPE_CHECKING:
    from playwright.sync_api import ViewportSize

Scheme: TypeAlias = Literal["light", "dark"]

ROOMS = ("lobby", "help", "releases", "kitchen", "on-call", "music")
PEOPLE = 160
WORKERS = 4
EVENTFUL = (60, 200)
"""Seconds after which a worker is killed, and the dynamic config is reloaded."""
SECONDS = 300
SIZE: ViewportSize = {"width": 1100, "height": 690}
NAMES: dict[Scheme, str] = {"light": "console.png", "dark": "console-dark.png"}


class Crowd:
    """People who come, talk more and less, and come back; in a thread of their own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._random = random.Random(20)
        self._loop = asyncio.new_event_loop()
        self._all = self._loop.create_task(self._gather())
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Send them home."""
        self._loop.call_soon_threadsafe(self._all.cancel)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(asyncio.wait([self._all]))
        self._loop.close()

    async def _gather(self) -> None:
        async with asyncio.TaskGroup() as people:
            for number in range(PEOPLE):
                people.create_task(self._person(number))

    async def _person(self, number: int) -> None:
        room = ROOMS[int(len(ROOMS) * self._random.random() ** 2)]
        url = f"ws://127.0.0.1:{self._port}/rooms/{room}?name=person{number}"
        await asyncio.sleep(self._random.random() * SECONDS / 3)
        while True:
            try:
                async with connect(url) as socket:
                    await asyncio.gather(self._listen(socket), self._talk(socket))
            except (OSError, ConnectionClosed):
                pass  # Its worker has just been killed.
            await asyncio.sleep(self._random.random() * 3)

    async def _listen(self, socket: ClientConnection) -> None:
        while True:
            await socket.recv()

    async def _talk(self, socket: ClientConnection) -> None:
        while True:
            pace = 1.5 + math.sin(time.monotonic() / 30)
            await asyncio.sleep(self._random.expovariate(1 / (8 * pace)))
            await socket.send("All quiet here." * self._random.randint(1, 4))


def main(folder: Path) -> None:
    """Let people talk for five minutes, and look at the page in both themes."""
    with tempfile.TemporaryDirectory() as temporary:
        chat = WatchedChat(Path(temporary))
        with closing(chat.service), chromium() as browser:
            chat.service.wait_ready()
            chat.control.scale(WORKERS)
            live = LivePage(browser.new_context(), chat.console)
            with closing(Crowd(chat.service.port)):
                # The page is open from the beginning, so that memory is measured.
                live.page.wait_for_timeout(1000 * EVENTFUL[0])
                chat.kill(chat.control.workers()[2]["pid"])
                live.page.wait_for_timeout(1000 * (EVENTFUL[1] - EVENTFUL[0]))
                os.kill(chat.service.process.pid, signal.SIGHUP)
                live.page.wait_for_timeout(1000 * (SECONDS - EVENTFUL[1]))
                for scheme, name in NAMES.items():
                    live.page.set_viewport_size(SIZE)
                    live.page.emulate_media(color_scheme=scheme)
                    live.page.screenshot(path=folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
