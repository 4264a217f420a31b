"""Limits, with a scoreboard as in a service."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.server.admission import Admission
from mpchat.server.board import ServiceBoard
from mpchat.server.options import ListenerOptions
from mpchat.websocket.client import Client, client_of
from mpchat.websocket.handler import WebsocketHandlerBase
from tests.kit.host import under_construction

PER_USER = "too many connections of this user"
PER_ADDRESS = "too many connections from this address"


def admission(handler: Any, listener: ListenerOptions | None = None, **limits: int) -> Admission:
    board = Scoreboard.create()
    board.set_service("slots", 1)
    service = ServiceBoard(board, board.row(0, 0), board.addresses(0, 0), board.users(0, 0))
    snapshot = Snapshot(1, {"MPCHAT_LIMITS": limits}, BUILT_IN_KEYS)
    return Admission(service, [handler], listener or ListenerOptions(port=1), lambda: snapshot)


def test_a_second_that_has_turned_meanwhile_is_not_the_one_that_counts() -> None:
    """Whoever stood still between its look at the clock and its look at the others counts anew."""
    handler: Any = SimpleNamespace(
        name="h",
        options=SimpleNamespace(path="/", max_requests_in_flight=None, max_requests_per_second=1),
    )
    board = Scoreboard.create()
    board.set_service("slots", 2)
    snapshot = Snapshot(1, {"MPCHAT_LIMITS": {}}, BUILT_IN_KEYS)

    def worker(slot: int, clock: Iterator[float]) -> Admission:
        tables = board.addresses(slot, 0), board.users(slot, 0)
        service = ServiceBoard(board, board.row(slot, 0), *tables)
        listener = ListenerOptions(port=1)
        return Admission(service, [handler], listener, lambda: snapshot, lambda: next(clock))

    quick = worker(1, iter([44.0, 44.0, 45.0, 45.0]))
    assert [quick.admit(handler, at("192.0.2.1")) for _ in range(2)] == [None, None]
    refused = worker(0, iter([44.9, 45.1, 45.1])).admit(handler, at("192.0.2.2"))
    assert refused == "too many handshakes per second"
    assert worker(0, iter([46.0, 46.0])).admit(handler, at("192.0.2.2")) is None


def at(host: str, **listener: Any) -> Client:
    prefix = ListenerOptions(port=1, **listener).ipv6_prefix
    return client_of((host, 1000, 0, 0), prefix, bytes(32))


@pytest.mark.covers("ListenerOptions.ipv6_prefix")
def test_an_option_says_how_long_the_prefix_of_a_network_is() -> None:
    one, neighbour, stranger = "2001:db8:0:1::1", "2001:db8:0:ff::1", "2001:db8:0:100::1"
    assert at(one).hashed != at(neighbour).hashed
    assert at(one, ipv6_prefix=56).hashed == at(neighbour, ipv6_prefix=56).hashed
    assert at(one, ipv6_prefix=56).hashed != at(stranger, ipv6_prefix=56).hashed


def test_an_ipv6_network_is_one_client() -> None:
    handler: Any = SimpleNamespace(
        name="h",
        options=SimpleNamespace(
            path="/", max_requests_in_flight=None, max_requests_per_second=None
        ),
    )
    admits = admission(handler, max_connections_per_address=2)
    assert admits.admit(handler, at("2001:db8::1")) is None
    assert admits.admit(handler, at("2001:db8::2")) is None
    assert admits.admit(handler, at("2001:db8::3")) == PER_ADDRESS
    assert admits.admit(handler, at("2001:db8:0:1::3")) is None
    admits.release(handler, at("2001:db8::ffff"))
    assert admits.admit(handler, at("2001:db8::4")) is None


def test_each_mapped_ipv4_address_is_a_client_of_its_own() -> None:
    handler: Any = SimpleNamespace(
        name="h",
        options=SimpleNamespace(
            path="/", max_requests_in_flight=None, max_requests_per_second=None
        ),
    )
    admits = admission(handler, max_connections_per_address=1)
    assert admits.admit(handler, at("::ffff:192.0.2.1")) is None
    assert admits.admit(handler, at("::ffff:192.0.2.2")) is None
    assert admits.admit(handler, at("192.0.2.1")) == PER_ADDRESS


def made(name: str, **options: Any) -> WebsocketHandlerBase:
    components = under_construction(name)
    found = WebsocketHandlerBase.Options.model_validate({"path": "/", **options})
    return WebsocketHandlerBase(found, components)


@pytest.mark.covers("ListenerOptions.max_connections_per_user")
def test_a_user_has_a_limit_in_the_service() -> None:
    handler = made("chat")
    admits = admission(handler, ListenerOptions(port=1, max_connections_per_user=2))
    assert [admits.admit_user(handler, "ada") for _ in range(3)] == [None, None, PER_USER]
    assert admits.admit_user(handler, "bob") is None
    admits.release_user(handler, "ada")
    assert [admits.admit_user(handler, "ada") for _ in range(2)] == [None, PER_USER]


@pytest.mark.covers("WebsocketOptions.max_connections_per_user")
def test_a_user_has_a_limit_in_a_handler() -> None:
    handler = made("chat", **dict(max_connections_per_user=1))
    free = made("free")
    admits = admission(handler)
    assert admits.admit_user(handler, "ada") is None
    assert admits.admit_user(handler, "ada") == f"{PER_USER} to this handler"
    assert [admits.admit_user(free, "ada") for _ in range(5)] == [None] * 5
    admits.release_user(free, "ada")
    admits.release_user(handler, "ada")
    assert admits.admit_user(handler, "ada") is None
    assert admits.admit_user(handler, "\ud800") is None


def test_users_of_a_dead_worker_are_forgotten() -> None:
    board = Scoreboard.create()
    board.set_service("slots", 2)
    services = [
        ServiceBoard(board, board.row(slot, 0), board.addresses(slot, 0), board.users(slot, 0))
        for slot in range(2)
    ]
    services[0].count_user(7, 1)
    services[1].count_user(7, 1)
    assert [service.connections_of_user(7) for service in services] == [2, 2]
    board.zero_gauges(1, 0)
    assert [service.connections_of_user(7) for service in services] == [1, 1]
