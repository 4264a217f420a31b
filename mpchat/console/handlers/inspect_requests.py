"""userver's handler-inspect-requests: the requests that workers are answering, then open connections.

Rules. One array, as userver's. It is sent as workers report, so that many connections take no memory
here. A worker that does not answer within two seconds is named in the header ``X-Silent-Workers``: its
requests are missing. A client that does not read is cut off, since workers wait with their reports.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from mpchat.console.knowledge import Knowledge
from mpchat.console.options import InspectRequestsOptions
from mpchat.ipc.messages import ReportRequests
from mpchat.ipc.reports import Reading, Rows, asked

SILENT = "X-Silent-Workers"
"""The header with the pids of workers that have not answered"""
_PATIENCE = 30.0
"""Seconds in which a client has to read what it was sent"""

log = logging.getLogger("mpchat.console")


class InspectRequests:
    """Answers GET."""

    def __init__(
        self, _options: InspectRequestsOptions, known: Knowledge, patience: float = _PATIENCE
    ) -> None:
        self._orders = known.orders
        self._status = known.status
        self._patience = patience

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Send the array.

        Raises:
            ControlError: A worker cannot be asked.
        """
        body = bool(request.query.get("body"))
        pids = self._status.ready_pids()
        # Both at once: what becomes a connection meanwhile is in one of the lists.
        async with (
            asked(self._orders, ReportRequests(open=False, body=body)) as requests,
            asked(self._orders, ReportRequests(open=True, body=body)) as connections,
        ):
            first = [rows async for rows in requests.rows()]
            response = web.StreamResponse()
            response.content_type, response.charset = "application/json", "utf-8"
            if silent := pids - requests.reporters:
                response.headers[SILENT] = ", ".join(str(pid) for pid in sorted(silent))
            await response.prepare(request)
            try:
                await self._send(response, first, connections)
            except ConnectionError:
                # Whoever asked has left.
                return response
            except TimeoutError:
                log.warning("a client that does not read the list of requests is cut off")
                if request.transport is not None:
                    request.transport.abort()
                return response
            for pid in sorted(pids - silent - connections.reporters):
                log.warning("worker pid %d did not tell all of its connections", pid)
        return response

    async def _send(self, response: web.StreamResponse, first: list[Rows], more: Reading) -> None:
        begin = "["
        async for rows in _all(first, more):
            text = ",\n".join(json.dumps(row) for row in rows)
            async with asyncio.timeout(self._patience):
                await response.write(f"{begin}{text}".encode())
            begin = ",\n"
        async with asyncio.timeout(self._patience):
            await response.write(b"[]\n" if begin == "[" else b"]\n")
            await response.write_eof()


async def _all(first: list[Rows], more: Reading) -> AsyncIterator[Rows]:
    for rows in first:
        yield rows
    async for rows in more.rows():
        yield rows
