"""The bytes of bodies in a worker, and who is refused when there are too many."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mpchat.server.bodies import Bodies


class Client:
    def __init__(self) -> None:
        self.refused = 0

    def refuse_body(self) -> None:
        self.refused += 1


def test_the_longest_arriving_is_refused() -> None:
    limits: Counter[str] = Counter()
    bodies = Bodies(100, lambda name: limits.update([name]))
    slow, quick, new = Client(), Client(), Client()
    bodies.arriving(slow, 10)
    bodies.arriving(quick, 50)
    bodies.arriving(slow, 30)
    bodies.arriving(new, 20)
    assert bodies.held == 100
    bodies.arriving(new, 21)
    assert [client.refused for client in (slow, quick, new)] == [1, 0, 0]
    assert (bodies.held, limits) == (71, {"request-bodies": 1})
    assert bodies.whole(quick, 60)
    bodies.arriving(new, 41)
    assert new.refused == 1
    assert bodies.held == 60


def test_what_handlers_work_on_is_kept() -> None:
    limits: Counter[str] = Counter()
    bodies = Bodies(100, lambda name: limits.update([name]))
    first, second, third = Client(), Client(), Client()
    assert bodies.whole(first, 60)
    bodies.arriving(second, 30)
    # There is room for it without the one that is arriving.
    assert bodies.whole(third, 40)
    assert second.refused == 1
    assert not bodies.whole(second, 1)
    bodies.gone(first)
    assert bodies.whole(second, 1)
    for client in (first, second, third):
        bodies.gone(client)
        bodies.gone(client)
    assert bodies.held == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.booleans() | st.none())))
def test_the_limit_is_never_exceeded(steps: list[tuple[int, int, bool | None]]) -> None:
    bodies = Bodies(100, lambda _name: None)
    clients = [Client() for _ in range(5)]
    for number, size, is_whole in steps:
        if is_whole is None:
            bodies.gone(clients[number])
        elif is_whole:
            bodies.whole(clients[number], size)
        else:
            # A client with a whole body sends no other before that is answered.
            bodies.gone(clients[number])
            bodies.arriving(clients[number], size)
        assert 0 <= bodies.held <= 100
    for client in clients:
        bodies.gone(client)
    assert bodies.held == 0
