"""The console's requests: which handler answers on which path.

Rules. Paths are those of the config, as userver reads them: a slash at the end makes no difference, and a
``{name}`` may be empty. What is no handler's is answered with a line of text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from mpchat.console.guard import Guard, add_headers
from mpchat.console.handlers.dynamic_config import DynamicConfigHandler
from mpchat.console.handlers.dynamic_debug_log import DynamicDebugLog
from mpchat.console.handlers.inspect_requests import InspectRequests
from mpchat.console.handlers.log_level import LogLevel
from mpchat.console.handlers.log_rotate import LogRotate
from mpchat.console.handlers.metrics import Metrics
from mpchat.console.handlers.server_monitor import ServerMonitor
from mpchat.console.knowledge import Knowledge
from mpchat.console.options import LIVE, LOGIN, PAGE, ConsoleHandlerOptions
from mpchat.console.page.feed import Feed
from mpchat.console.page.pages import Login, Page
from mpchat.ipc.control import ControlError
from mpchat.server.options import MonitorListenerOptions

_PARAMETER = re.compile(r"\{(\w+)\}")


class ConsoleHandler(Protocol):
    """Answers the requests of one section."""

    def __init__(self, options: Any, known: Knowledge) -> None: ...

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request whose path and method are the section's."""


HANDLERS: dict[str, type[ConsoleHandler]] = {
    "handler-server-monitor": ServerMonitor,
    "handler-metrics": Metrics,
    "handler-log-level": LogLevel,
    "handler-dynamic-debug-log": DynamicDebugLog,
    "handler-inspect-requests": InspectRequests,
    "handler-dynamic-config": DynamicConfigHandler,
    "handler-on-log-rotate": LogRotate,
}
"""By section; the options are in ``options.SECTIONS``"""


def build(
    listener: MonitorListenerOptions,
    sections: Mapping[str, ConsoleHandlerOptions],
    known: Knowledge,
    feed: Feed,
) -> web.Application:
    """Return aiohttp's application; ``sections`` has the options of the handlers that are on."""
    token = listener.token.get_secret_value() if listener.token is not None else None
    login = Page("login.html")
    guard = Guard(
        token,
        listener.hosts,
        unix=listener.unix_socket is not None,
        ask=lambda: login.response(401),
        certified=listener.tls is not None and bool(listener.tls.ca),
    )
    app = web.Application(middlewares=[guard.middleware(), _in_words])
    app.on_response_prepare.append(add_headers)
    app.router.add_get(PAGE, Page("index.html").handle)
    app.router.add_get(LIVE, feed.handle, allow_head=False)
    app.on_shutdown.append(feed.close)
    if token is not None:
        app.router.add_post(LOGIN, Login(guard, login).handle)
    handlers = {name: HANDLERS[name](options, known) for name, options in sections.items()}
    # A path that is somebody's own comes before one that only leaves a parameter out.
    for paths_of in (resources, parents):
        for name, options in sections.items():
            methods = options.allowed_methods()
            for method in [*methods, *(["HEAD"] if "GET" in methods else [])]:
                for path in paths_of(options.path):
                    app.router.add_route(method, path, handlers[name].handle)
    return app


def resources(path: str) -> list[str]:
    """Return the paths of aiohttp, which are decoded, that a path of the config stands for."""
    bare = URL(path, encoded=True).path_safe.rstrip("/")
    return [_PARAMETER.sub(r"{\1:[^/]*}", one) for one in (bare, f"{bare}/") if one]


def parents(path: str) -> list[str]:
    """Return the path without a parameter at its end, and without the slash before it."""
    parent, _, last = path.rstrip("/").rpartition("/")
    return resources(parent)[:1] if parent and last.startswith("{") else []


@web.middleware
async def _in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what no handler does: a wrong path or method, and what the service refuses."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return web.Response(status=404, text="nothing is served on this path\n")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        text = f"{request.method} is not allowed on this path, but {allowed}\n"
        return web.Response(status=405, text=text, headers={"Allow": allowed})
    except ControlError as error:
        return web.Response(status=500, text=f"{error}\n")
