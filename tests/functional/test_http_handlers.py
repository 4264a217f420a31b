"""Handlers of plain HTTP, beside WebSockets on the same port."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import select
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from mpchat.testsuite.clients import ServiceClient
from mpchat.testsuite.service import Service
from tests.kit.control import Control
from tests.kit.waiting import eventually

pytestmark = pytest.mark.shared_service

APP = """
import asyncio
from pathlib import Path

from pydantic import BaseModel

from mpchat import (
    HttpError, HttpHandlerBase, HttpHandlerJsonBase, default_component_list, response,
)


class Order(BaseModel):
    name: str
    count: int


class Show(HttpHandlerBase):
    name = "handler-show"

    async def handle_request(self, request, context):
        if context.path_params["id"] == "0":
            raise HttpError(404, "no such order: " + request.query["name"], code="no_order")
        answer = response(200, json={
            "method": request.method,
            "path": request.path,
            "id": context.path_params["id"],
            "tags": request.query.get_all("tag"),
            "who": request.cookies.get("who"),
        })
        answer.headers["Set-Cookie"] = "seen=1"
        return answer


class Add(HttpHandlerJsonBase):
    name = "handler-add"
    body_type = Order

    async def handle_request_json(self, request, body, context):
        return response(201, json=body)


class Sized(HttpHandlerBase):
    name = "handler-sized"

    async def handle_request(self, request, context):
        return response(200, f"{len(request.body)} {sum(request.body)}")


class Waiting(HttpHandlerBase):
    name = "handler-waiting"

    async def handle_request(self, request, context):
        Path("waiting").touch()
        await asyncio.sleep(3600)


components = default_component_list()
for cls in (Show, Add, Sized, Waiting):
    components.append(cls)
"""


@pytest.fixture
def service_command(service_command: list[str], service_tmpdir: Path) -> list[str]:
    (service_tmpdir / "orders.py").write_text(APP)
    return [*service_command, "--app", "orders:components"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    service_config_yaml["components_manager"]["components"] |= {
        "handler-show": {"path": "/orders/{id}"},
        "handler-add": {"path": "/orders/{id}", "method": "PUT"},
        "handler-sized": {"path": "/sized", "method": "GET,POST"},
        "handler-waiting": {"path": "/waiting", "max_requests_in_flight": 1},
    }
    return service_config_yaml


async def test_a_request_reaches_its_handler(service_client: ServiceClient) -> None:
    answer = await service_client.get(
        "/orders/a%20b/?tag=1&tag=%C3%BC", headers={"Cookie": "who=ann; x=y"}
    )
    assert answer.json() == {
        "method": "GET",
        "path": "/orders/a%20b/",
        "id": "a b",
        "tags": ["1", "ü"],
        "who": "ann",
    }
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["set-cookie"] == "seen=1"
    head = await service_client.request("HEAD", "/orders/1")
    assert (head.status, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0


async def test_methods_of_a_path(service_client: ServiceClient) -> None:
    allow = "GET, HEAD, OPTIONS, PUT"
    refused = await service_client.delete("/orders/1")
    assert (refused.status, refused.headers["allow"]) == (405, allow)
    assert refused.json()["code"] == "method_not_allowed"
    asked = await service_client.request("OPTIONS", "/orders/1")
    assert (asked.status, asked.headers["allow"], asked.content) == (204, allow, b"")


async def test_json_is_validated_and_mistakes_are_told(service_client: ServiceClient) -> None:
    made = await service_client.put("/orders/1", json={"name": "tea", "count": 2})
    assert (made.status, made.json()) == (201, {"name": "tea", "count": 2})
    wrong = await service_client.put("/orders/1", json={"count": "many"})
    assert wrong.status == 400
    assert wrong.json()["code"] == "bad_request"
    places = [item["place"] for item in wrong.json()["details"]["errors"]]
    assert places == ["name", "count"]
    assert (await service_client.put("/orders/1", data=b"{}")).status == 415


async def test_a_body_may_be_sent_in_chunks(service_port: int) -> None:
    def send() -> bytes:
        connection = http.client.HTTPConnection("localhost", service_port, timeout=30)
        # Without a length, Python's client sends chunks.
        parts = (bytes([number % 256]) * 1000 for number in range(1000))
        connection.request("POST", "/sized", body=parts, encode_chunked=True)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    total = sum(number % 256 * 1000 for number in range(1000))
    assert await asyncio.to_thread(send) == f"1000000 {total}".encode()


async def test_an_error_is_told_to_the_client_and_has_no_traceback(
    service_client: ServiceClient, supervisor: Service
) -> None:
    answer = await service_client.get("/orders/0?name=sesame")
    assert (answer.status, answer.json()) == (
        404,
        {"code": "no_order", "message": "no such order: sesame"},
    )
    # Other parts of its line stand between the two.
    await eventually(lambda: "no such order: sesame" in supervisor.stderr(), "its line")
    assert "Traceback" not in supervisor.stderr()


async def test_requests_in_flight_have_a_limit(
    service_port: int, service_tmpdir: Path, control: Control
) -> None:
    def ask() -> socket.socket:
        client = socket.create_connection(("localhost", service_port), 30)
        client.sendall(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n")
        return client

    def is_refused(client: socket.socket) -> bool:
        return bool(select.select([client], [], [], 0.3)[0])

    with contextlib.ExitStack() as stack:
        first = stack.enter_context(ask())
        # Two workers that count at the same moment would refuse both.
        await eventually((service_tmpdir / "waiting").exists, "a request in flight")
        second = stack.enter_context(ask())
        answer = second.recv(1000)
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"Connection: close" not in answer
        await eventually(
            lambda: control.limits().get("max_requests_in_flight") == 1, "count of the refusal"
        )
        assert not is_refused(first)
        # Whoever breaks its connection makes room for the next.
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        await eventually(lambda: not is_refused(stack.enter_context(ask())), "a place")
