"""The control socket's server: one JSON object per line in, one out.

Rules. Bad input gets an error or is refused, and never stops the monitor. The length of lines, the number
of clients and the time for each are limited. A slow client delays nobody else.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from operator import itemgetter
from typing import Any

from mpchat.config.settings import Setting
from mpchat.ipc.closing import IDENTITY_GONE, check_close
from mpchat.ipc.control import MAX_REQUEST, ControlError
from mpchat.ipc.messages import Report, ReportRooms
from mpchat.ipc.orders import OrderGiver
from mpchat.ipc.reopening import reopen_logs
from mpchat.ipc.reports import (
    BY_MEMBERS,
    BY_MESSAGES,
    CONNECTION_NUMBERS,
    MAX_ROOMS,
    gather_reports,
)
from mpchat.logs.levels import LEVELS
from mpchat.scoreboard.status import SAMPLE_SECONDS, Status

_CLIENTS = 64
_IDLE_SECONDS = 30.0
_LAST_REQUEST_SECONDS = 0.5
"""Seconds for the request of a client that has just connected when the monitor retires."""
_VERBS = (
    "status, config, dynamic-config, listeners, reopen, connections, kick, rooms, reload, log-level, "
    "scale, restart"
)
_ROOMS = 100
"""Rooms of an answer that does not ask for another number."""


class Control:
    """Answers the verbs; ``describe_config`` returns the dynamic config in force."""

    def __init__(
        self,
        status: Status,
        orders: OrderGiver,
        settings: Sequence[Setting],
        describe_config: Callable[[], Awaitable[dict[str, Any]]],
    ) -> None:
        self._status = status
        self._settings = settings
        self._describe_config = describe_config
        self._orders = orders
        self._clients: set[asyncio.Task[Any]] = set()
        self._busy: set[asyncio.Task[Any]] = set()
        self._retiring = False
        self._listening: socket.socket | None = None

    @asynccontextmanager
    async def listening(self, sock: socket.socket) -> AsyncIterator[None]:
        """Serve clients within the block; the caller removes the socket's file."""
        sampling = asyncio.create_task(self._sample())
        # Since Python 3.13 a server removes the file by default, which may be a successor's.
        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        server = await asyncio.start_unix_server(self._serve, sock=sock, limit=MAX_REQUEST, **keep)
        self._listening = sock
        try:
            yield
        finally:
            server.close()
            for task in (sampling, *self._clients):
                task.cancel()
            await asyncio.gather(sampling, *self._clients, return_exceptions=True)

    async def retire(self) -> None:
        """Take no more clients, and answer the present ones: another monitor takes over."""
        assert self._listening is not None
        self._retiring = True
        # Closing the server would drop clients that are accepted but not yet in ``_clients``.
        asyncio.get_running_loop().remove_reader(self._listening)
        await asyncio.sleep(_LAST_REQUEST_SECONDS)
        while self._busy:
            await asyncio.wait(self._busy)

    async def answer(self, line: bytes) -> dict[str, Any]:
        """Return the answer to one request, however bad."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _error("a request is one line of JSON")
        if not isinstance(request, dict):
            return _error("a request is an object")
        verb = request.get("verb")
        try:
            match verb:
                case "status":
                    return {"ok": True, **await asyncio.to_thread(self._status.collect)}
                case "config":
                    return {"ok": True, "settings": [asdict(one) for one in self._settings]}
                case "dynamic-config":
                    return {"ok": True, **await self._describe_config()}
                case "connections":
                    return {"ok": True, **await self._connections(request)}
                case "kick":
                    return {"ok": True, **await self._kick(request)}
                case "rooms":
                    return {"ok": True, **await self._rooms(request)}
                case "listeners":
                    done = await self._orders.give("listeners")
                    return {"ok": True, **self._status.listeners(done.answer)}
                case "log-level":
                    return {"ok": True, **await self._log_level(request)}
                case "reopen":
                    return {"ok": True, **asdict(await reopen_logs(self._orders))}
                case "restart":
                    return {"ok": True, **await self._restart(request)}
                case "scale":
                    return {"ok": True, **await self._scale(request)}
                case "reload":
                    done = await self._orders.give("reload")
                    return {"ok": True, "generation": done.generation}
        except ControlError as error:
            return _error(str(error))
        return _error(f"unknown verb; known are {_VERBS}")

    async def _log_level(self, request: dict[str, Any]) -> dict[str, Any]:
        logger, level = request.get("logger"), request.get("level")
        if not isinstance(logger, str) or not logger:
            raise ControlError("log-level needs a logger's name")
        if level is not None and (not isinstance(level, str) or level not in LEVELS):
            raise ControlError(f"expected a level, one of {', '.join(LEVELS)}, or null")
        number = LEVELS[level] if level is not None else None
        order = {"logger": logger, "level": level, "number": number}
        await self._orders.give("log-level", arguments=order)
        return {"logger": logger, "level": level}

    async def _restart(self, request: dict[str, Any]) -> dict[str, Any]:
        slot = request.get("slot")
        if slot is not None and not _is_number(slot):
            raise ControlError("restart takes a slot's number, or none for all slots")
        await self._orders.give("restart", arguments={"slot": slot})
        return {"slot": slot}

    async def _scale(self, request: dict[str, Any]) -> dict[str, Any]:
        count = request.get("count")
        if not _is_number(count):
            raise ControlError("scale needs the number of workers, its count")
        await self._orders.give("scale", arguments={"count": count})
        return {"workers": count}

    async def _connections(self, request: dict[str, Any]) -> dict[str, Any]:
        user, pid = request.get("user"), request.get("pid")
        by, limit = request.get("by", CONNECTION_NUMBERS[0]), request.get("limit")
        if user is not None and not isinstance(user, str):
            raise ControlError("connections takes the name of a user, or none for all users")
        if pid is not None and not _is_number(pid):
            raise ControlError("connections takes the pid of a worker, or none for all workers")
        if not isinstance(by, str) or by not in CONNECTION_NUMBERS:
            raise ControlError(f"connections are sorted by {', '.join(CONNECTION_NUMBERS)}")
        if limit is not None and not (_is_number(limit) and limit > 0):
            raise ControlError("connections takes a limit, a number from 1, or none for all")
        found = await self._report(Report(user, pid=pid, by=by, limit=limit))
        if limit is not None:
            found["connections"] = heapq.nlargest(limit, found["connections"], key=itemgetter(by))
        return found

    async def _kick(self, request: dict[str, Any]) -> dict[str, Any]:
        user, reason = request.get("user"), request.get("reason", "")
        code = request.get("code", IDENTITY_GONE)
        if not isinstance(user, str) or not isinstance(reason, str):
            raise ControlError("kick needs the name of a user, and takes a reason")
        if not _is_number(code):
            raise ControlError("kick takes a code, a number")
        if mistake := check_close(code, reason):
            raise ControlError(mistake)
        return await self._report(Report(user, None, code, reason))

    async def _rooms(self, request: dict[str, Any]) -> dict[str, Any]:
        by, limit = request.get("by", BY_MEMBERS), request.get("limit", _ROOMS)
        if not isinstance(by, str) or by not in {BY_MEMBERS, BY_MESSAGES}:
            raise ControlError(f"rooms are sorted by {BY_MEMBERS} or by {BY_MESSAGES}")
        if not (_is_number(limit) and 1 <= limit <= MAX_ROOMS):
            raise ControlError(f"rooms takes a limit, a number from 1 to {MAX_ROOMS}")
        found = await gather_reports(self._orders, ReportRooms(by, limit))
        if not found.reporters:
            raise ControlError("the broker has not answered: it is busy, or being replaced")
        return {"rooms": found.rows}

    async def _report(self, report: Report) -> dict[str, Any]:
        silent = self._status.ready_pids() if report.pid is None else {report.pid}
        found = await gather_reports(self._orders, report)
        return {"connections": found.rows, "silent": sorted(silent - found.reporters)}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > _CLIENTS:
                await _write(writer, _error("too many clients"))
                return
            while True:
                try:
                    async with asyncio.timeout(_IDLE_SECONDS):
                        line = await reader.readline()
                except ValueError:
                    text = f"a request has at most {MAX_REQUEST} bytes"
                    await _write(writer, _error(text))
                    return
                if not line.endswith(b"\n"):
                    return
                self._busy.add(task)
                await _write(writer, await self.answer(line))
                self._busy.discard(task)
                if self._retiring:
                    return
        except (ConnectionError, TimeoutError):
            return
        finally:
            self._clients.discard(task)
            self._busy.discard(task)
            writer.close()

    async def _sample(self) -> None:
        while True:
            self._status.sample()
            await asyncio.sleep(SAMPLE_SECONDS)


async def _write(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    async with asyncio.timeout(_IDLE_SECONDS):
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _error(text: str) -> dict[str, Any]:
    return {"ok": False, "error": text}
