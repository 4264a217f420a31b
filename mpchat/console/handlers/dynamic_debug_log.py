"""userver's handler-dynamic-debug-log: forces the lines of loggers on or off in every process.

Rules. As userver's, with loggers in the place of files: a location is a logger, as lines name it, and
includes all loggers below it. Loggers have no line numbers, so a location with one is refused.
"""

from __future__ import annotations

from aiohttp import web

from mpchat.console.knowledge import Knowledge
from mpchat.console.options import DynamicDebugLogOptions
from mpchat.loglines.locations import BY_LEVEL, OFF, ON
from mpchat.logs.levels import DEFAULT, MAX_NAME, known_loggers

_STATES = {"": ON, "1": ON, "-1": OFF, "0": BY_LEVEL}
"""By the body of a PUT"""


class DynamicDebugLog:
    """Answers GET, PUT and DELETE."""

    def __init__(self, _options: DynamicDebugLogOptions, known: Knowledge) -> None:
        self._orders = known.orders
        self._levels = known.logs.levels

    async def handle(self, request: web.Request) -> web.Response:
        """Show the states of loggers, or change them.

        Raises:
            ControlError: The service refuses the change.
        """
        location = request.query.get("location", "")
        if mistake := _mistake(location):
            return web.Response(status=400, text=f"{mistake}\n")
        if request.method == "PUT":
            body = (await request.text()).strip()
            if body not in _STATES:
                text = f"expected 1, -1, 0 or nothing in the body, got {body[:100]!r}\n"
                return web.Response(status=500, text=text)
            return await self._set(location, _STATES[body])
        if request.method == "DELETE":
            return await self._set(location, BY_LEVEL)
        return self._show(location)

    def _show(self, location: str) -> web.Response:
        known = known_loggers()
        if not location:
            return web.Response(
                text="".join(f"{name}\t{self._levels.state(name)}\n" for name in known)
            )
        if location not in known:
            return web.Response(status=404, text="Location not found\n")
        return web.Response(text=f"{self._levels.state(location)}\n")

    async def _set(self, location: str, state: int) -> web.Response:
        name = "" if location == DEFAULT else location
        await self._orders.give("debug-log", arguments={"location": name, "state": state})
        return web.Response(text="OK\n")


def _mistake(location: str) -> str:
    if ":" in location:
        return "a location is a logger, such as mpchat.handlers, without the number of a line"
    if len(location) > MAX_NAME or not location.isprintable():
        return f"a location is a logger's name, of at most {MAX_NAME} printable characters"
    return ""
