"""userver's handler-server-monitor: all metrics, in its formats ``prometheus`` and ``json``."""

from __future__ import annotations

from aiohttp import web

from mpchat.console.knowledge import Knowledge
from mpchat.console.monitor_formats import CONTENT_TYPES, selection_of, shown
from mpchat.console.options import ServerMonitorOptions


class ServerMonitor:
    """Answers GET."""

    def __init__(self, options: ServerMonitorOptions, known: Knowledge) -> None:
        self._options = options
        self._known = known

    async def handle(self, request: web.Request) -> web.Response:
        """Show the metrics that the query selects."""
        try:
            selection = selection_of(request.query, self._options.format)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        families = await self._known.families()
        text = shown(families, selection, self._options.common_labels)
        headers = {"Content-Type": CONTENT_TYPES[selection.format]}
        return web.Response(text=text, headers=headers)
