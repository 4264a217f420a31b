"""handler-dynamic-config, which userver does not have: what is in force, from where, since when.

Rules. As ``mpchat config show --dynamic`` prints it: each variable with its value and where that comes
from, the generation, and why the last reload and the last restart failed, if they did.
"""

from __future__ import annotations

import json

from aiohttp import web

from mpchat.console.knowledge import Knowledge
from mpchat.console.options import DynamicConfigHandlerOptions


class DynamicConfigHandler:
    """Answers GET."""

    def __init__(self, _options: DynamicConfigHandlerOptions, known: Knowledge) -> None:
        self._known = known

    async def handle(self, _request: web.Request) -> web.Response:
        """Show the dynamic config in force."""
        config = self._known.config
        if config is None:
            text = "the supervisor has not told the dynamic config yet: ask again in a moment\n"
            return web.Response(status=503, text=text)
        text = json.dumps(config.describe(self._known.keys), indent=2, ensure_ascii=False) + "\n"
        return web.Response(text=text, content_type="application/json")
