"""The console's requests: which handler answers on which path."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from mpchat.console.guard import Guard
from mpchat.console.handlers.log_rotate import LogRotate
from mpchat.console.knowledge import Knowledge
from mpchat.worker.service import ConsolePlan


class ConsoleHandler(Protocol):
    """Answers the requests of one section."""

    def __init__(self, options: Any, known: Knowledge) -> None: ...

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request whose path and method are the section's."""


HANDLERS: dict[str, type[ConsoleHandler]] = {
    "handler-on-log-rotate": LogRotate,
}
"""By section; the options are in ``options.SECTIONS``"""


def build(plan: ConsolePlan, known: Knowledge) -> web.Application:
    """Return aiohttp's application."""
    listener = plan.listener
    token = listener.token.get_secret_value() if listener.token is not None else None
    guard = Guard(token, listener.hosts, unix=listener.unix_socket is not None)
    app = web.Application(middlewares=[guard.middleware()])
    for name, options in plan.handlers.items():
        handler = HANDLERS[name](options, known)
        for method in options.allowed_methods():
            app.router.add_route(method, options.path, handler.handle)
    return app
