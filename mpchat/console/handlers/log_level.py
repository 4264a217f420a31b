"""userver's handler-log-level: shows and changes the level of a logger in every process.

Rules. As userver's, for any logger of Python: one that the config does not name has the level of the
nearest logger above it. A level that does not exist is answered with 500, as there.
"""

from __future__ import annotations

import json

from aiohttp import web

from mpchat.console.knowledge import Knowledge
from mpchat.console.options import LogLevelOptions
from mpchat.logs.levels import DEFAULT, LEVELS, MAX_NAME, name_of

RESET = "reset"


class LogLevel:
    """Answers GET and PUT."""

    def __init__(self, _options: LogLevelOptions, known: Knowledge) -> None:
        self._orders = known.orders
        self._levels = known.logs.levels

    async def handle(self, request: web.Request) -> web.Response:
        """Show a logger's levels, after a PUT with the new one.

        Raises:
            ControlError: The service refuses the change.
        """
        logger = request.query.get("logger") or DEFAULT
        level = request.match_info.get("level", "")
        if len(logger) > MAX_NAME:
            text = f"the name of a logger has at most {MAX_NAME} characters\n"
            return web.Response(status=400, text=text)
        if request.method == "PUT":
            wanted = level.lower()
            if wanted != RESET and wanted not in LEVELS:
                text = f"expected {', '.join(LEVELS)} or {RESET} at the end of the path, got {level!r}\n"
                return web.Response(status=500, text=text)
            await self._order(logger, None if wanted == RESET else wanted)
        elif level:
            text = f"unexpected level {level!r}: GET shows the level, PUT changes it\n"
            return web.Response(status=400, text=text)
        answer = {
            "init-log-level": name_of(self._levels.initial(logger)),
            "current-log-level": name_of(self._levels.current(logger)),
        }
        text = json.dumps(answer, separators=(",", ":")) + "\n"
        return web.Response(text=text, content_type="application/json")

    async def _order(self, logger: str, level: str | None) -> None:
        number = LEVELS[level] if level is not None else None
        arguments = {"logger": logger, "level": level, "number": number}
        await self._orders.give("log-level", arguments=arguments)
