"""Paths of the console, as the config means them."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from mpchat.console.app import parents, resources


@pytest.mark.parametrize(
    ("path", "asked", "params"),
    [
        ("/", "/", {}),
        ("/service/monitor", "/service/monitor", {}),
        ("/service/monitor", "/service/monitor/", {}),
        ("/service/monitor/", "/service/monitor", {}),
        ("/service/monitor", "/service/monitor/x", None),
        ("/log/{level}", "/log/debug", {"level": "debug"}),
        ("/log/{level}", "/log/debug/", {"level": "debug"}),
        ("/log/{level}", "/log/", {"level": ""}),
        ("/log/{level}", "/log", {}),
        ("/log/{level}", "/log/a/b", None),
        ("/{level}/log", "/debug/log", {"level": "debug"}),
        ("/{level}", "/", {"level": ""}),
        ("/{a}/{b}", "/x", {"a": "x"}),
        ("/a%20b", "/a%20b", {}),
        ("/a%2Fb/{x}", "/a%2Fb/c%20d", {"x": "c d"}),
        ("/a%2Fb", "/a/b", None),
        ("/a.b", "/aXb", None),
    ],
)
async def test_a_path_of_the_config_answers_as_in_userver(
    path: str, asked: str, params: dict[str, str] | None
) -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response()

    dispatcher = web.UrlDispatcher()
    for resource in (*resources(path), *parents(path)):
        dispatcher.add_get(resource, handle)
    match = await dispatcher.resolve(make_mocked_request("GET", asked))
    assert (None if match.http_exception is not None else dict(match)) == params
