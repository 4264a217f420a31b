"""A network that can be cut as by a pulled cable: bytes vanish, and nobody is told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Cable:
    """What connections pass through from their beginning on."""

    def __init__(self, *, is_whole: bool) -> None:
        self.is_whole = is_whole


class StallingProxy:
    """Passes TCP connections on to a port of this host, from a thread of its own; a context manager.

    A connection that was cut stays open on both sides, and nothing passes any more.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._cable = Cable(is_whole=True)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(self._listen())
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_error: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Let nothing pass: neither of open connections nor of new ones."""
        self._cable.is_whole = False

    def mend(self) -> None:
        """Let new connections pass; those from before stay cut."""
        self._cable = Cable(is_whole=True)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        # The loop stops next: no task may be left that it would have to end.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cable = self._cable
        self._writers.append(writer)
        if not cable.is_whole:
            await reader.read()
            return
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.append(back)
            await asyncio.gather(_pass(cable, reader, back), _pass(cable, there, writer))


async def _pass(cable: Cable, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on to their end; through a cable that is cut neither bytes nor their end comes."""
    while data := await reader.read(65536):
        if cable.is_whole:
            writer.write(data)
            await writer.drain()
    if cable.is_whole:
        writer.close()
