"""Paths to handlers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mpchat.components.handler_base import HandlerBase
from mpchat.http.errors import HttpError
from mpchat.server.routes import Routes


def handler(path: str, method: str = "GET", slash: str = "strict-match") -> HandlerBase:
    options = HandlerBase.Options.model_validate(
        {"path": path, "method": method, "url_trailing_slash": slash}
    )
    components: Any = SimpleNamespace(
        name_under_construction="handler", background_under_construction=None, snapshot=None
    )
    return HandlerBase(options, components)


CHAT, ROOM, LOBBY = handler("/chat"), handler("/rooms/{room}", "GET,PUT"), handler("/rooms/lobby")
EITHER, USER = handler("/either/", slash="both"), handler("/users/{user}", slash="both")
ROUTES = Routes([CHAT, ROOM, LOBBY, EITHER, USER])


@pytest.mark.parametrize(
    ("target", "expected", "params"),
    [
        ("/chat", CHAT, {}),
        ("/chat?token=1", CHAT, {}),
        ("http://host:8080/chat", CHAT, {}),
        ("/rooms/lobby", LOBBY, {}),
        ("/rooms/blue%20one", ROOM, {"room": "blue one"}),
        ("/either", EITHER, {}),
        ("/either/", EITHER, {}),
        ("/users/ann/", USER, {"user": "ann"}),
    ],
)
def test_found(target: str, expected: HandlerBase, params: dict[str, str]) -> None:
    route = ROUTES.find("GET", target)
    assert route.handler is expected
    assert route.params == params


@pytest.mark.parametrize("target", ["/", "/chat/", "/chat/x", "/Chat", "/rooms/", "/rooms/a/b"])
def test_not_found(target: str) -> None:
    with pytest.raises(HttpError) as caught:
        ROUTES.find("GET", target)
    assert caught.value.status == 404


def test_methods() -> None:
    assert ROUTES.find("PUT", "/rooms/blue").handler is ROOM
    assert ROUTES.find("HEAD", "/chat").handler is CHAT
    with pytest.raises(HttpError) as caught:
        ROUTES.find("DELETE", "/rooms/blue")
    assert caught.value.headers["Allow"] == "GET, HEAD, PUT"


def test_what_a_target_may_not_have_is_refused_on_a_path_of_that_name() -> None:
    routes = Routes([handler("/a^b"), handler("/ab")])
    assert routes.find("GET", "/ab").params == {}
    with pytest.raises(HttpError) as caught:
        routes.find("GET", "/a^b")
    assert caught.value.status == 400
