"""Paths of the console, as the config means them."""

from __future__ import annotations

import pytest
from aiohttp import web

from mpchat.console.app import resources


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
        ("/a%20b", "/a%20b", {}),
        ("/a.b", "/aXb", None),
    ],
)
def test_a_path_of_the_config_answers_as_in_userver(
    path: str, asked: str, params: dict[str, str] | None
) -> None:
    dispatcher = web.UrlDispatcher()
    for resource in resources(path):
        dispatcher.add_resource(resource)
    found = [resource._match(asked) for resource in dispatcher.resources()]
    matches = [match for match in found if match is not None]
    assert matches[:1] == ([] if params is None else [params])
