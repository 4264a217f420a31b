"""Paths to handlers."""

from __future__ import annotations

import pytest

from mpchat.components.http_handler import HttpHandlerBase
from mpchat.http.errors import HttpError
from mpchat.server.routes import Routes
from mpchat.websocket.handler import WebsocketHandlerBase
from tests.kit.host import under_construction


def handler(path: str, method: str = "GET", slash: str = "strict-match") -> HttpHandlerBase:
    options = HttpHandlerBase.Options.model_validate(
        {"path": path, "method": method, "url_trailing_slash": slash}
    )
    components = under_construction("handler")
    return HttpHandlerBase(options, components)


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
def test_found(target: str, expected: HttpHandlerBase, params: dict[str, str]) -> None:
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
    assert caught.value.headers["Allow"] == "GET, HEAD, OPTIONS, PUT"


def test_what_a_target_may_not_have_is_refused_on_a_path_of_that_name() -> None:
    routes = Routes([handler("/a^b"), handler("/ab")])
    assert routes.find("GET", "/ab").params == {}
    with pytest.raises(HttpError) as caught:
        routes.find("GET", "/a^b")
    assert caught.value.status == 400


def test_one_path_has_handlers_for_different_methods() -> None:
    show, add = handler("/orders", slash="both"), handler("/orders", "POST")
    change = handler("/orders/{id}", "PUT")
    remove = handler("/orders/{id}", "DELETE,PATCH", slash="both")
    routes = Routes([show, add, change, remove])
    assert routes.find("GET", "/orders").handler is show
    assert routes.find("HEAD", "/orders/").handler is show
    assert routes.find("POST", "/orders").handler is add
    assert routes.find("PUT", "/orders/1").handler is change
    assert routes.find("DELETE", "/orders/1/").handler is remove
    assert routes.find("DELETE", "/orders/1").params == {"id": "1"}
    for method, target, allow in (
        ("PUT", "/orders", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/orders/", "GET, HEAD, OPTIONS"),
        ("GET", "/orders/1", "DELETE, OPTIONS, PATCH, PUT"),
    ):
        with pytest.raises(HttpError) as caught:
            routes.find(method, target)
        assert (caught.value.status, caught.value.headers["Allow"]) == (405, allow)


def test_a_path_of_its_own_comes_before_one_that_tolerates_a_slash() -> None:
    tolerant, strict = handler("/a", slash="both"), handler("/a/")
    routes = Routes([tolerant, strict])
    assert routes.find("GET", "/a/").handler is strict
    assert routes.find("GET", "/a").handler is tolerant


def test_options() -> None:
    own = handler("/own", "OPTIONS,GET")
    routes = Routes([own, CHAT])
    assert routes.find("OPTIONS", "/own").handler is own
    route = routes.find("OPTIONS", "/chat")
    assert (route.handler, route.allow) == (None, "GET, HEAD, OPTIONS")
    assert routes.find("OPTIONS", "*").handler is None
    with pytest.raises(HttpError) as caught:
        routes.find("OPTIONS", "/nowhere")
    assert caught.value.status == 404


def test_a_websocket_and_an_http_handler_share_a_path_and_a_method() -> None:
    options = WebsocketHandlerBase.Options.model_validate({"path": "/rooms/{room}"})
    socket = WebsocketHandlerBase(options, under_construction("socket"))
    plain = handler("/rooms/{room}", "GET,POST")
    for order in ([socket, plain], [plain, socket]):
        routes = Routes(order)
        for method, upgrading in (("GET", socket), ("HEAD", socket), ("POST", plain)):
            route = routes.find(method, "/rooms/a")
            assert route.handler_of(upgrade=True) is upgrading
            assert route.handler_of(upgrade=False) is plain
            assert route.params == {"room": "a"}
    alone = Routes([socket]).find("GET", "/rooms/a")
    assert alone.handler_of(upgrade=True) is alone.handler_of(upgrade=False) is socket
