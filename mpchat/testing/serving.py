"""From handlers and their options, or a config file, to a worker in memory.

Rules. Options are read as those of a config file: the same units, defaults, checks and error texts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection

from mpchat.components.component import Component
from mpchat.components.handler_base import HandlerBase
from mpchat.components.list import ComponentList
from mpchat.config.files import ConfigFiles
from mpchat.errors import ConfigError
from mpchat.template.loading import Sources, load_service
from mpchat.testing.clock import Clock
from mpchat.testing.worker import Worker
from mpchat.testsuite.clients import HttpResponse
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.worker.service import Service

TIME_LIMIT = 10.0
"""Seconds for a handshake, a message or an answer."""

Options: TypeAlias = Mapping[str, Any]
"""Options by their names in the static config."""
Given: TypeAlias = Mapping[type[Component], Options]
"""Classes with the options of their sections."""

_FILE = "options"


@contextlib.asynccontextmanager
async def serve(
    components: Given,
    *,
    server: Options | None = None,
    dynamic_config: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    time_limit: float = TIME_LIMIT,
) -> AsyncIterator[Worker]:
    """Run a worker of these classes, each with its options.

    Use it as ``async with serve({Chat: {"path": "/chat"}}) as worker``. ``server`` has options of the
    section ``server``, ``dynamic_config`` has variables by name, ``time_limit`` is in seconds.

    Raises:
        ConfigError: Options or variables have mistakes.
        ComponentError: A component did not start; the text names it.
    """
    service = _service_of(components, server or {})
    async with Worker(service, dynamic_config or {}, clock, time_limit) as worker:
        yield worker


@contextlib.asynccontextmanager
async def serve_config(
    components: ComponentList,
    config: str | Path,
    *,
    config_vars: str | Path | None = None,
    dynamic_config: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    time_limit: float = TIME_LIMIT,
) -> AsyncIterator[Worker]:
    """Run a worker of a service: its component list, its static config and the files that this names.

    ``dynamic_config`` has variables that go before those of the files.

    Raises:
        ConfigError: The files have mistakes.
        ComponentError: A component did not start; the text names it.
    """
    variables = None if config_vars is None else str(config_vars)
    service = load_service(ConfigFiles(str(config), variables), components, Sources())
    async with Worker(service, dynamic_config or {}, clock, time_limit) as worker:
        yield worker


@contextlib.asynccontextmanager
async def connect(
    handler: type[WebsocketHandlerBase],
    path: str = "/",
    *,
    headers: Mapping[str, str] | None = None,
    options: Options | None = None,
    components: Given | None = None,
    server: Options | None = None,
    dynamic_config: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    time_limit: float = TIME_LIMIT,
    **client: Any,
) -> AsyncIterator[ClientConnection]:
    """Open one connection to a handler.

    Use it as ``async with connect(Chat) as chat``. The handler serves this path unless its ``options``
    have another, which may have parameters. ``client`` has options of
    ``websockets.asyncio.client.connect``: ``subprotocols``, ``origin``, ``compression`` and others. The
    other arguments are those of ``serve``.

    Raises:
        InvalidStatus: The handshake was refused; ``response`` is the answer.
    """
    given = _with_handler(handler, path, options, components)
    async with serve(
        given, server=server, dynamic_config=dynamic_config, clock=clock, time_limit=time_limit
    ) as worker:
        opening = worker.websocket_client.get(path, additional_headers=headers, **client)
        async with opening as chat:
            yield chat


async def request(
    handler: type[HandlerBase],
    method: str = "GET",
    path: str = "/",
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    data: bytes | str | None = None,
    params: Mapping[str, str] | None = None,
    options: Options | None = None,
    components: Given | None = None,
    server: Options | None = None,
    dynamic_config: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    time_limit: float = TIME_LIMIT,
) -> HttpResponse:
    """Send one plain request to a handler, and return its answer.

    The handler serves this path and method unless its ``options`` have others. ``json`` or ``data`` is
    the body, ``params`` the query; the other arguments are those of ``serve``.
    """
    given = _with_handler(handler, path, {"method": method, **(options or {})}, components)
    async with serve(
        given, server=server, dynamic_config=dynamic_config, clock=clock, time_limit=time_limit
    ) as worker:
        return await worker.service_client.request(
            method, path, json=json, data=data, params=params, headers=headers
        )


def _with_handler(
    handler: type[HandlerBase], path: str, options: Options | None, components: Given | None
) -> dict[type[Component], Options]:
    own = {"path": "/" + path.partition("?")[0].lstrip("/"), **(options or {})}
    return {**(components or {}), handler: own}


def _service_of(components: Given, server: Options) -> Service:
    classes = ComponentList()
    for cls in components:
        classes.append(cls)
    sections = {cls.name: dict(options) for cls, options in components.items()}
    listener = {"port": 0, **server.get("listener", {})}
    config = {
        "components_manager": {
            "task_processors": {"main": {"worker_threads": 1}},
            "default_task_processor": "main",
            "components": {"server": {**server, "listener": listener}, **sections},
        }
    }
    try:
        # JSON is YAML.
        sources = Sources({_FILE: json.dumps(config)})
        return load_service(ConfigFiles(_FILE), classes, sources)
    except ConfigError as error:
        # Nobody has written the lines and columns of this text.
        problems = [
            dataclasses.replace(problem, line=0, column=0) if problem.file == _FILE else problem
            for problem in error.problems
        ]
        raise ConfigError(problems) from error
