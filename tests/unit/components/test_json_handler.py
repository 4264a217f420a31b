"""Handlers of JSON: what reaches them, and what is refused before."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from mpchat.components.context import Context
from mpchat.components.json_handler import HttpHandlerJsonBase
from mpchat.http.errors import HttpError
from mpchat.http.request import HttpRequest
from mpchat.http.responses import response
from tests.kit.host import under_construction

JSON = "application/json"


class Item(BaseModel):
    name: str
    price: Annotated[int, Field(gt=0)]


class Order(BaseModel):
    items: list[Item]


class Anything(HttpHandlerJsonBase):
    async def handle_request_json(self, request: HttpRequest, body: Any, context: Context) -> Any:
        return {"body": body}


class Orders(HttpHandlerJsonBase):
    body_type = Order

    async def handle_request_json(self, request: HttpRequest, body: Order, context: Context) -> Any:
        return response(201, json=body.items[0])


class Untyped(Anything):
    needs_content_type = False


async def ask(cls: type[HttpHandlerJsonBase], body: bytes, content_type: str = JSON) -> Response:
    components = under_construction("h")
    handler = cls(cls.Options(path="/"), components)
    headers = Headers({"Content-Type": content_type} if content_type else {})
    context = Context("1", asyncio.Event(), lambda: None, None)  # type: ignore[arg-type, return-value]
    return await handler.handle_request(HttpRequest(Request("/", headers), body), context)


async def refused(
    cls: type[HttpHandlerJsonBase], body: bytes, content_type: str = JSON
) -> HttpError:
    with pytest.raises(HttpError) as caught:
        await ask(cls, body, content_type)
    return caught.value


async def test_without_a_type_any_json_is_taken_and_none() -> None:
    assert (await ask(Anything, b"[1]")).body == b'{"body": [1]}'
    assert (await ask(Anything, b"", "")).body == b'{"body": null}'
    assert (await ask(Anything, b"{}", "application/merge-patch+json; a=b")).status_code == 200


async def test_a_model_is_made_of_the_body() -> None:
    answer = await ask(Orders, b'{"items": [{"name": "tea", "price": 3}]}')
    assert (answer.status_code, answer.body) == (201, b'{"name": "tea", "price": 3}')


async def test_each_mistake_has_its_place_and_not_its_value() -> None:
    error = await refused(Orders, b'{"items": [{"name": "secret", "price": 0}, {"name": 7.25}]}')
    assert error.status == 400
    assert [item["place"] for item in error.details["errors"]] == [
        "items.0.price",
        "items.1.name",
        "items.1.price",
    ]
    assert error.text == "items.0.price: Input should be greater than 0 (and 2 more)"
    assert "secret" not in str(error.details)
    assert "7.25" not in str(error.details)


async def test_what_is_no_json_is_refused() -> None:
    for body in (b"{", b"\xff", b"[" * 100_000, b""):
        assert (await refused(Orders, body)).status == 400
    for content_type in ("", "text/plain", "application/x-www-form-urlencoded", "json"):
        assert (await refused(Anything, b"{}", content_type)).status == 415


async def test_a_handler_may_take_json_that_does_not_say_so() -> None:
    for content_type in ("", "application/x-www-form-urlencoded"):
        assert (await ask(Untyped, b"[1]", content_type)).body == b'{"body": [1]}'
        assert (await refused(Untyped, b"{", content_type)).status == 400


async def test_so_many_mistakes_are_counted_only() -> None:
    body = b'{"items": [' + b"0," * 200_000 + b"0]}"
    error = await refused(Orders, body)
    assert error.text == "the body has 200001 mistakes"
    assert not error.details
