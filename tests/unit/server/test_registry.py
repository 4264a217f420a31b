"""Each socket is counted once, in whichever order its ends become known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from mpchat.scoreboard.counters import Counters
from mpchat.server.inspection import InFlight
from mpchat.server.registry import Registry


class Client:
    """A socket without a WebSocket."""

    def end_if_idle(self, fresh_seconds: float) -> None:
        raise AssertionError

    in_flight: InFlight | None = None
    stop_reading = abort = lambda _self: None


class Board:
    """What a registry tells others."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.counters = Counters()
        self.turn = SimpleNamespace(touch=lambda: None)
        self.clock = lambda: 12.5
        self.thresholds = SimpleNamespace(max_arriving=2)

    def admits_socket(self, own: int, waiting: int) -> bool:
        self.told.append((own, waiting))
        return own <= 2

    def show_waiting(self, waiting: int) -> None:
        self.told.append(waiting)

    def release(self, handler: str, client: str) -> None:
        self.told.append(("release", handler, client))

    def closed(self, handler: str, code: int, seconds: float, connection: str) -> None:
        self.told.append(("closed", handler, code, seconds, connection))

    def counts(self) -> tuple[int, int]:
        return self.counters.sockets, self.counters.waiting


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def registry(board: Any) -> Registry:
    return Registry(board, board, board)


class Connection:
    """A WebSocket that has ended."""

    handler, client, since, close_code = "chat", "::1", 10.0, 1000
    context = SimpleNamespace(id="a-1")


def test_a_socket_that_goes_twice_is_counted_once(board: Board, registry: Registry) -> None:
    first, second = Client(), Client()
    assert registry.enter(first)
    assert registry.enter(second)
    assert not registry.enter(Client())
    for _ in range(2):
        registry.leave(first)
    assert board.counts() == (2, 2)
    assert board.told == [(1, 1), (2, 2), (3, 3), 2]


def test_a_socket_that_becomes_a_websocket_stays_one(board: Board, registry: Registry) -> None:
    client, protocol = Client(), cast(Any, Connection())
    registry.enter(client)
    registry.upgrade(client, protocol)
    assert board.counts() == (1, 0)
    # It counts as one, whatever else its first protocol reports.
    registry.leave(client)
    assert board.counts() == (1, 0)
    for _ in range(2):
        registry.on_end(protocol)
    assert board.counts() == (0, 0)
    ends = [("release", "chat", "::1"), ("closed", "chat", 1000, 2.5, "a-1")]
    assert board.told == [(1, 1), 0, *ends]


def test_a_socket_without_its_header_counts_against_its_own_bound_alone(
    board: Board, registry: Registry
) -> None:
    first, second, third = Client(), Client(), Client()
    assert [registry.arrive(client) for client in (first, second, third)] == [True, True, False]
    assert (board.counts(), board.told) == ((0, 0), [])
    registry.arrived(third)
    registry.arrived(first)
    assert registry.arrive(Client())
    # Its header has come.
    registry.arrived(second)
    assert registry.enter(second)
    assert board.counts() == (1, 1)
    assert len(registry.early) == 2
