"""handler-metrics, which userver does not have: all metrics for Prometheus, with help, type and unit."""

from __future__ import annotations

from aiohttp import web

from mpchat.console.exposition import exposition
from mpchat.console.knowledge import Knowledge
from mpchat.console.options import MetricsOptions


class Metrics:
    """Answers GET."""

    def __init__(self, _options: MetricsOptions, known: Knowledge) -> None:
        self._known = known

    async def handle(self, request: web.Request) -> web.Response:
        """Show all metrics in the format that the client asks for."""
        families = await self._known.families()
        body, content_type = exposition(families, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})
