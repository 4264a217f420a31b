"""Hooks that cannot work are mistakes, told with the author's file and line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpchat import metrics
from mpchat.components.component import Component
from mpchat.components.handler_base import HandlerBase
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.components.json_handler import HttpHandlerJsonBase
from mpchat.dynamic_config.keys import Key
from mpchat.dynamic_config.variables import DRAIN
from mpchat.handlers.lists import default_component_list
from mpchat.metrics.directory import MAX_VALUES
from mpchat.rooms.handler import RoomHandler
from mpchat.template.hooks import (
    find_misspellings,
    find_mistakes,
    find_mistakes_in_metrics,
    find_taken_names,
)
from mpchat.websocket.handler import WebsocketHandlerBase


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


class Right(WebsocketHandlerBase):
    def __init__(self, options: Any, components: Any, more: int = 0) -> None:
        super().__init__(options, components)

    @traced
    async def handle(self, *everything: Any) -> None: ...

    async def handle_handshake(self, request: Any, context: Any, hint: str = "") -> None: ...


class Static(WebsocketHandlerBase):
    @staticmethod
    async def handle(chat: Any, context: Any) -> None: ...

    @classmethod
    async def start(cls) -> None: ...


class Derived(Right):
    pass


class Partial(Right):
    async def serve(self, greeting: str, chat: Any, context: Any) -> None: ...

    handle = functools.partialmethod(serve, "hello")


async def test_what_works_is_no_mistake() -> None:
    ours = [cls for _name, cls in default_component_list().items()]
    for cls in (Right, Static, Derived, Partial, Component, *ours):
        assert [*find_mistakes(cls)] == []
        assert [*find_misspellings(cls)] == []


class Sync(WebsocketHandlerBase):
    def handle(self, chat: Any, context: Any) -> None: ...  # type: ignore[override]


class Nothing(WebsocketHandlerBase):
    pass


class Misspelt(WebsocketHandlerBase):
    async def handel(self, chat: Any, context: Any) -> None: ...


class NoContext(WebsocketHandlerBase):
    async def handle(self, chat: Any) -> None: ...  # type: ignore[override]


class Yields(WebsocketHandlerBase):
    async def handle(self, chat: Any, context: Any) -> Any:
        yield chat


class Attribute(WebsocketHandlerBase):
    handle = None  # type: ignore[assignment]


class SyncStart(Component):
    def start(self) -> None: ...  # type: ignore[override]


class AsyncLoaded(Component):
    async def on_all_components_loaded(self) -> None: ...  # type: ignore[override]


class NoOptions(Component):
    def __init__(self) -> None: ...


class Http(HttpHandlerBase):
    async def handle_request(self, request: Any) -> Any: ...  # type: ignore[override]


class Pages(HttpHandlerBase):
    async def handle_requests(self, request: Any, context: Any) -> Any: ...


class Json(HttpHandlerJsonBase):
    async def handle_request_json(self, request: Any, context: Any) -> Any: ...  # type: ignore[override]


class Neither(HandlerBase):
    async def handle_non_websocket_request(self, request: Any, context: Any) -> Any: ...


ASYNC = "`async def handle(self, chat, context)`"


@pytest.mark.parametrize(
    ("cls", "path", "text"),
    [
        (Sync, "Sync.handle", f"expected {ASYNC}, got one without async"),
        (Nothing, "Nothing", f"has no {ASYNC}"),
        (Misspelt, "Misspelt", f"has no {ASYNC}; is 'handel' a misspelling of it?"),
        (
            NoContext,
            "NoContext.handle",
            f"expected {ASYNC}, got one with other parameters: (self, chat: 'Any') -> 'None'",
        ),
        (Yields, "Yields.handle", f"expected {ASYNC}, got one that contains a yield"),
        (Attribute, "Attribute.handle", f"expected {ASYNC}, got NoneType"),
        (SyncStart, "SyncStart.start", "expected `async def start(self)`, got one without async"),
        (
            AsyncLoaded,
            "AsyncLoaded.on_all_components_loaded",
            "expected `def on_all_components_loaded(self)`, got one with async",
        ),
        (
            NoOptions,
            "NoOptions.__init__",
            "expected `def __init__(self, options, components)`, "
            "got one with other parameters: (self) -> 'None'",
        ),
        (
            Http,
            "Http.handle_request",
            "expected `async def handle_request(self, request, context)`, "
            "got one with other parameters: (self, request: 'Any') -> 'Any'",
        ),
        (
            Pages,
            "Pages",
            "has no `async def handle_request(self, request, context)`; "
            "is 'handle_requests' a misspelling of it?",
        ),
        (
            Json,
            "Json.handle_request_json",
            "expected `async def handle_request_json(self, request, body, context)`, "
            "got one with other parameters: (self, request: 'Any', context: 'Any') -> 'Any'",
        ),
        (
            Neither,
            "Neither",
            "expected a class derived from HttpHandlerBase or WebsocketHandlerBase",
        ),
    ],
)
def test_a_mistake_has_its_place(cls: type[Component], path: str, text: str) -> None:
    (found,) = find_mistakes(cls)
    assert (found.path, found.text, found.file) == (path, text, __file__)
    lines = Path(__file__).read_text().splitlines()
    name = path.rpartition(".")[2]
    assert name in lines[found.line - 1] or f"class {cls.__name__}" in lines[found.line - 1]


MINE = Key("MY_RATE", int, default=1)


class Declares(Component):
    dynamic_config_keys = (MINE,)


class DeclaresToo(Component):
    dynamic_config_keys = (MINE, DRAIN)


class Again(Component):
    dynamic_config_keys = (Key("MY_RATE", int, default=2),)


class BuiltIn(Component):
    dynamic_config_keys = (Key("USERVER_LOG_REQUEST", int, default=2),)


class Reserved(Component):
    dynamic_config_keys = (Key("MPCHAT_RATE", int, default=2),)


@pytest.mark.parametrize(
    ("classes", "texts"),
    [
        ([Declares, DeclaresToo], []),
        ([Declares, Again], ["another key has this name: MY_RATE"]),
        ([BuiltIn], ["another key has this name: USERVER_LOG_REQUEST"]),
        (
            [Reserved],
            ["names that begin with MPCHAT_ or USERVER_ are reserved: MPCHAT_RATE"],
        ),
    ],
)
def test_a_dynamic_variable_has_one_key(classes: list[type[Component]], texts: list[str]) -> None:
    assert [problem.text for problem in find_taken_names(classes)] == texts


@pytest.mark.parametrize("name", ["my_rate", "MY-RATE", "", "7_RATE", "MY_RATE\n"])
def test_a_dynamic_variable_is_called_in_capitals(name: str) -> None:
    with pytest.raises(ValueError, match="expected capitals, digits and underscores"):
        Key(name, int, default=1)


class Careless(WebsocketHandlerBase):
    async def handle(self, chat: Any, context: Any) -> None: ...

    async def handle_handshke(self, request: Any, context: Any) -> None: ...


def test_a_method_that_is_nearly_a_hook_is_warned_about() -> None:
    (warning,) = find_misspellings(Careless)
    assert warning.startswith(f"{__file__}:")
    assert warning.endswith(
        ": nothing calls Careless.handle_handshke; did you mean 'handle_handshake'?"
    )


class RefusesEverybody(WebsocketHandlerBase):
    async def handle_handshake(self, request: Any, context: Any) -> None: ...


def test_a_handler_without_handle_is_only_warned_about_if_it_may_refuse_everybody() -> None:
    assert [*find_mistakes(RefusesEverybody)] == []
    (warning,) = find_misspellings(RefusesEverybody)
    assert "RefusesEverybody has no `async def handle(self, chat, context)`" in warning


class Doorman(RoomHandler):
    def authorize(self, room: str, context: Any) -> bool:  # type: ignore[override]
        return True

    def member_infos(self, room: str, context: Any) -> Any: ...


def test_hooks_of_rooms_are_looked_at_as_all_others() -> None:
    (mistake,) = find_mistakes(Doorman)
    expected = "expected `async def authorize(self, room, context)`, got one without async"
    assert mistake.text == expected
    (warning,) = find_misspellings(Doorman)
    assert warning.endswith("nothing calls Doorman.member_infos; did you mean 'member_info'?")


class Counts(Component):
    orders = metrics.counter("orders", "Orders taken", labels={"kind": ("buy", "sell")})
    waited = metrics.histogram("wait.seconds", "Waited", bounds=(0.1, 1))


class CountsToo(Counts):
    open = metrics.gauge("open", "Open orders")


class SharesOne(Component):
    orders = Counts.orders


class CountsAgain(Component):
    taken = metrics.counter("orders", "Orders taken")


class Miscounts(Component):
    orders = metrics.counter("orders taken", "", labels={"kind": ()})


class CountsALot(Component):
    some = metrics.gauge("some", "Some", labels={"a": [str(n) for n in range(1000)]})
    more = metrics.histogram(
        "more", "More", labels={"a": [str(n) for n in range(40)]}, bounds=range(100)
    )


@pytest.mark.parametrize(
    ("classes", "texts"),
    [
        ([Counts, CountsToo, SharesOne], []),
        ([Counts, CountsAgain], ["CountsAgain.taken: another metric has the name orders"]),
        (
            [Miscounts],
            [
                "Miscounts.orders: expected a name of letters, digits, '_', '.' and '-' that begins "
                "with a letter, got 'orders taken'",
                "Miscounts.orders: help: expected its meaning in one line, got ''",
                "Miscounts.orders: labels: kind: expected a tuple of values, got ()",
            ],
        ),
        (
            [Counts, CountsALot],
            ["CountsALot.more: bounds: expected 1 to 100 numbers, got range(0, 100)"],
        ),
    ],
)
def test_what_a_class_declares_as_metrics_is_looked_at(
    classes: list[type[Component]], texts: list[str]
) -> None:
    problems = [*find_mistakes_in_metrics(classes)]
    assert [f"{problem.path}: {problem.text}" for problem in problems] == texts
    assert all(problem.file == __file__ and problem.line for problem in problems)


def test_a_service_has_a_limited_number_of_values_of_metrics() -> None:
    class TooMuch(CountsALot):
        more = metrics.histogram("more", "More", labels={"a": [*"abcdefgh"]}, bounds=[*range(100)])
        most = metrics.histogram(
            "most", "Most", labels={"a": [*"abcdefghijklmnopqrstuvwxyz"]}, bounds=[*range(90)]
        )

    (problem,) = find_mistakes_in_metrics([Counts, TooMuch])
    assert problem.path == "TooMuch.most"
    text = f"a service may have {MAX_VALUES} values of metrics, and with these it has 4214"
    assert problem.text.startswith(text)
