"""userver's handler-on-log-rotate: all processes open their log files again.

Rules. As userver's: an empty 200, or 500 if any file could not be opened. Unlike there, the answer names
the files and the processes that said nothing.
"""

from __future__ import annotations

from aiohttp import web

from mpchat.console.knowledge import Knowledge
from mpchat.console.options import LogRotateOptions
from mpchat.ipc.reopening import reopen_logs


class LogRotate:
    """Answers POST."""

    def __init__(self, _options: LogRotateOptions, known: Knowledge) -> None:
        self._orders = known.orders

    async def handle(self, _request: web.Request) -> web.Response:
        """Reopen, and say what went wrong.

        Raises:
            ControlError: The supervisor cannot open its own.
        """
        found = await reopen_logs(self._orders)
        silent = [f"{name} has not answered" for name in found.silent]
        lines = [*found.trouble, *silent]
        text = "".join(f"{line}\n" for line in lines)
        return web.Response(status=500 if lines else 200, text=text)
