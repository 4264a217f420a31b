"""What is made of one status after the other."""

from __future__ import annotations

from typing import Any

import pytest

from mpchat.cli.top.changes import changes
from mpchat.cli.top.history import SECONDS, History, Limit
from mpchat.cli.top.rows import Connection, Health, Row, worker_rows
from tests.kit.statuses import broker, connection, status, without_worker, worker


def rows(*workers: dict[str, Any]) -> list[Row]:
    return [*worker_rows(status(*workers))]


@pytest.mark.parametrize(
    ("changed", "state", "health"),
    [
        ({}, "ready", Health.FINE),
        ({"silent_seconds": 12.0}, "silent 12.0s", Health.BAD),
        ({"silent_seconds": None}, "ready", Health.FINE),
        ({"state": "starting", "silent_seconds": 2.0}, "starting", Health.CHANGING),
        ({"state": "retiring"}, "retiring", Health.CHANGING),
        ({"state": "stuck", "silent_seconds": 15.0}, "stuck", Health.BAD),
    ],
)
def test_a_state_says_how_a_worker_is(changed: dict[str, Any], state: str, health: Health) -> None:
    (row,) = rows(worker(0, **changed))
    assert (row.state, row.health) == (state, health)


def test_a_slot_without_a_worker_is_shown_unless_it_is_scaled_away() -> None:
    down, present = rows(without_worker(0, "down"), without_worker(1, "away"), worker(2))
    assert (down.pid, down.state, down.health, down.connections) == (None, "down", Health.BAD, None)
    assert present.key == (2, 102)


def test_what_a_slot_has_done_is_shown_once() -> None:
    old, new = rows(
        worker(0, state="retiring", messages_received=9),
        worker(0, pid=7, messages_received=9),
    )
    assert (old.received, new.received) == (None, 9)
    # The successor of one that still serves has not done anything.
    old, new = rows(
        worker(0, messages_received=9), worker(0, pid=7, state="starting", messages_received=9)
    )
    assert (old.received, new.received) == (9, None)


def test_words_of_clients_command_no_terminal() -> None:
    row = Connection.of(connection("a-1", user="ada l\x1b[2J", path="/\x07", peer="unix socket"))
    assert (row.user, row.path, row.peer) == ("ada�l�[2J", "/�", "unix�socket")


PLAIN = status(worker(0), worker(1), broker=broker())


def test_nothing_has_changed() -> None:
    assert [*changes(PLAIN, PLAIN)] == []
    older = status(worker(0, age_seconds=1.0), worker(1, silent_seconds=0.3), broker=broker())
    assert [*changes(older, PLAIN)] == []


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (
            status(worker(0, pid=7), worker(1), broker=broker()),
            "slot 0: pid 100 has ended, pid 7 is ready",
        ),
        (
            status(worker(0), without_worker(1, "down"), broker=broker()),
            "slot 1: pid 101 has ended, no worker",
        ),
        (
            status(worker(0), without_worker(1, "away"), broker=broker()),
            "slot 1: pid 101 has ended, scaled away",
        ),
        (
            status(
                worker(0, state="retiring"),
                worker(0, pid=7, state="starting"),
                worker(1),
                broker=broker(),
            ),
            "slot 0: pid 100 is retiring, pid 7 is starting",
        ),
        (
            status(worker(0), worker(1), worker(2), broker=broker()),
            "slot 2: pid 102 is ready",
        ),
        (
            status(worker(0), worker(1, helper="main-task-processor/0"), broker=broker()),
            "slot 1: slot 0 accepts its clients",
        ),
        (PLAIN | {"generation": 2}, "dynamic config generation 1 -> 2"),
        (PLAIN | {"faults": 2}, "2 faults of the supervisor: see its log"),
        (
            PLAIN | {"pid": 7, "generation": 5},
            "the service was started anew: supervisor pid 50 -> 7",
        ),
        (
            PLAIN | {"broker": broker(stream_lost_seconds=1.0)},
            "broker: its stream does not answer",
        ),
        (PLAIN | {"broker": broker(state="down", pid=None)}, "broker: pid 90 has ended, down"),
        (PLAIN | {"broker": broker(pid=7)}, "broker: pid 90 has ended, pid 7 is ready"),
    ],
)
def test_a_change_is_a_sentence(after: dict[str, Any], expected: str) -> None:
    assert [*changes(PLAIN, after)] == [expected]


def test_a_worker_that_is_not_forked_yet_has_no_pid() -> None:
    waiting = status(worker(0, pid=0, state="starting"))
    assert [*changes(waiting, status(worker(0)))] == ["slot 0: pid 100 is ready"]
    assert rows(*waiting["workers"])[0].pid is None


def test_what_comes_back_is_said() -> None:
    lost = PLAIN | {"broker": broker(stream_lost_seconds=1.0)}
    assert [*changes(lost, PLAIN)] == ["broker: its stream answers again"]
    down = PLAIN | {"broker": broker(state="down", pid=None)}
    assert [*changes(down, PLAIN)] == ["broker: pid 90 is ready"]


def counted(received: int, sent: int) -> dict[str, Any]:
    numbers = {"messages_received": received, "messages_sent": sent}
    return status(worker(0, **numbers), totals=numbers, broker=broker(delivered=sent))


def test_rates_are_per_second_and_remembered() -> None:
    history = History()
    first = history.take(counted(10, 20), 100.0, "12:00:00")
    assert (first.workers[0].received, first.total, first.recent) == (None, (), {})
    assert first.broker is not None
    assert first.broker.sent is None
    seen = history.take(counted(30, 60), 102.0, "12:00:02")
    assert (seen.workers[0].received, seen.workers[0].sent) == (10.0, 20.0)
    assert seen.answer["totals"]["messages_sent"] == 20.0
    assert seen.total == seen.recent[0] == ((102.0, 30.0),)
    assert seen.broker is not None
    assert seen.broker.sent == 20.0
    seen = history.take(counted(30, 60), 102.0 + SECONDS + 1, "12:05:03")
    assert seen.total == ((102.0 + SECONDS + 1, 0.0),)


def test_a_service_that_did_not_answer_has_no_rates_at_first() -> None:
    history = History()
    history.take(counted(10, 20), 100.0, "12:00:00")
    history.miss()
    assert history.take(counted(30, 60), 110.0, "12:00:10").workers[0].received is None
    assert history.take(counted(40, 60), 111.0, "12:00:11").workers[0].received == 10.0


def test_a_service_that_was_started_anew_is_another_one() -> None:
    history = History()
    history.take(counted(10, 20), 100.0, "12:00:00")
    history.take(counted(30, 60) | {"limits": {"expires": 4}}, 101.0, "12:00:01")
    seen = history.take(counted(1, 1) | {"pid": 7, "limits": {"expires": 1}}, 102.0, "12:00:02")
    assert (seen.total, seen.recent) == ((), {})
    assert seen.limits == (Limit("expires", 1, 0),)
    assert seen.changes == (("12:00:02", "the service was started anew: supervisor pid 50 -> 7"),)


def test_limits_that_were_reached_lately_come_first() -> None:
    history = History()

    def reached(at: float, **limits: int) -> tuple[Limit, ...]:
        return history.take(status(limits=limits), at, "12:00:00").limits

    assert reached(0.0, expires=4) == (Limit("expires", 4, 0),)
    assert reached(1.0, expires=4) == (Limit("expires", 4, 0),)
    both = {"expires": 4, "publish-rate": 2}
    lately = (Limit("publish-rate", 2, 2), Limit("expires", 4, 0))
    assert history.take(status(limits=both), 2.0, "").limits == lately
    assert history.take(status(limits=both), 2.0 + SECONDS, "").limits == lately
    assert history.take(status(limits=both), 3.0 + SECONDS, "").limits == (
        Limit("expires", 4, 0),
        Limit("publish-rate", 2, 0),
    )


def test_the_newest_changes_come_first() -> None:
    history = History()
    for generation in range(30):
        seen = history.take(PLAIN | {"generation": generation}, generation, f"at {generation}")
    assert seen.changes[0] == ("at 29", "dynamic config generation 28 -> 29")
    assert len(seen.changes) == 20


def test_of_two_workers_of_a_slot_the_one_that_serves_is_asked() -> None:
    seen = History().take(
        status(worker(0, state="retiring"), worker(0, pid=7), without_worker(1, "down")), 1.0, ""
    )
    found = seen.worker_of(0)
    assert found is not None
    assert found.pid == 7
    assert seen.worker_of(1) is seen.worker_of(2) is None
