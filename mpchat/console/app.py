"""The console's requests: which handler answers on which path."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from mpchat.console.guard import LOGIN, Guard
from mpchat.console.handlers.log_rotate import LogRotate
from mpchat.console.knowledge import Knowledge
from mpchat.console.page.feed import Feed
from mpchat.console.page.pages import Login, Page
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


def build(plan: ConsolePlan, known: Knowledge, feed: Feed) -> web.Application:
    """Return aiohttp's application."""
    listener = plan.listener
    token = listener.token.get_secret_value() if listener.token is not None else None
    login = Page("login.html")
    guard = Guard(
        token,
        listener.hosts,
        unix=listener.unix_socket is not None,
        ask=lambda: login.response(401),
    )
    app = web.Application(middlewares=[guard.middleware()])
    app.router.add_get("/", Page("index.html").handle)
    app.router.add_get("/live", feed.handle, allow_head=False)
    app.on_shutdown.append(feed.close)
    if token is not None:
        app.router.add_post(LOGIN, Login(guard, login).handle)
    for name, options in plan.handlers.items():
        handler = HANDLERS[name](options, known)
        for method in options.allowed_methods():
            app.router.add_route(method, options.path, handler.handle)
    return app
