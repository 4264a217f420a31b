"""Screens, as lines."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.cli.top.choices import Choices
from mpchat.cli.top.drawing import Size
from mpchat.cli.top.history import History, Seen
from mpchat.cli.top.rows import Connection
from mpchat.cli.top.tables import Details
from mpchat.cli.top.view import Shown, draw
from tests.kit.statuses import broker, connection, status, without_worker, worker

ROOMS = [
    {"room": f"room {number}", "members": 10 * number, "messages_per_second": number / 2}
    for number in range(10)
]


def seen_of(*answers: dict[str, Any]) -> Seen:
    history = History()
    for at, answer in enumerate(answers):
        seen = history.take(answer, float(at), f"12:00:{at:02}")
    return seen


USUAL = Size(80, 24)


def screen(shown: Shown | Seen, choices: Choices | None = None, *, size: Size = USUAL) -> list[str]:
    whole = shown if isinstance(shown, Shown) else Shown(shown)
    return [line.plain.rstrip() for line in draw(whole, choices or Choices(), size)]


def opened(**changes: Any) -> Choices:
    return dataclasses.replace(Choices(opened=0), **changes)


def test_a_screen_tells_of_the_service_and_each_worker() -> None:
    totals = {"connections": 12, "waiting": 1, "messages_received": 100, "bytes_sent": 4096}
    before = status(worker(0), worker(1, messages_received=100))
    after = status(
        worker(0, messages_received=40, connections=7),
        worker(1, messages_received=160, silent_seconds=3.0),
        without_worker(2, "down"),
        without_worker(3, "away"),
        totals=totals,
        limits={"expires": 2},
        faults=1,
    )
    lines = screen(seen_of(before, after))
    assert lines[:6] == [
        "mpchat 1.2  ws://localhost:8080/chat  up 1m01s  pid 50  generation 1",
        "1 fault: see the log",
        "12 connections  0.0 handshakes/s  0.0 closed/s  0.0 requests/s  0.0 refused/s",
        "1 other socket",
        "100 messages/s in (0B/s)  0.0 messages/s out (4.0KiB/s)  " + " " * 22 + "█",
        "limits:  expires 2, 2 of them lately",
    ]
    header, *rows = lines[7:13]
    assert header.split() == [
        *("WORKER▲", "PID", "STATE", "CONNS", "IN/s", "OUT/s", "LAG", "CPU", "MEMORY", "5", "MIN")
    ]
    assert rows[0].split()[:7] == [">", "0", "100", "ready", "7", "40.0", "0.0"]
    assert rows[1].split()[:6] == ["1", "101", "silent", "3.0s", "5", "60.0"]
    assert rows[2].split()[:4] == ["2", "-", "down", "-"]
    assert rows[3] == "  1 slot scaled away"
    assert any("slot 2: no worker" in line for line in lines)
    assert lines[-1].startswith("q quit  ? help  Enter connections")


def test_eighty_columns_show_what_an_operator_looks_for() -> None:
    seen = seen_of(status(worker(0), worker(1)), status(worker(0), worker(1)))
    narrow = next(line for line in screen(seen) if "WORKER" in line)
    assert {"PID", "STATE", "CONNS", "IN/s", "OUT/s", "LAG", "CPU", "MEMORY"} <= set(narrow.split())
    wide = next(line for line in screen(seen, size=Size(160, 40)) if "WORKER" in line)
    assert {"AGE", "RESTARTS", "GEN", "B-IN/s", "B-OUT/s"} <= set(wide.split())


def test_rooms_and_the_broker_are_shown_where_there_are_rooms() -> None:
    seen = seen_of(status(worker(0), broker=broker(workers_behind=1)))
    lines = screen(Shown(seen, Details(ROOMS[:2])))
    row = next(line for line in lines if "broker" in line)
    assert row.split()[:6] == ["broker", "90", "ready", "340", "25.5", "-"]
    (at,) = [number for number, line in enumerate(lines) if line.startswith("2 rooms")]
    assert lines[at : at + 4] == [
        "2 rooms  history 3.0MiB of 64.0MiB  1 worker behind",
        "ROOM    MEMBERS    IN/s",
        "room�0        0     0.0",
        "room�1       10     0.5",
    ]
    assert not any("room" in line for line in screen(seen_of(status(worker(0)))))
    lost = seen_of(status(broker=broker(engine="nats", stream_lost_seconds=61.0)))
    assert any("NO STREAM for 1m01s" in line for line in screen(lost))
    refused = Shown(seen, Details(no_rooms="the broker has not answered"))
    assert any("the broker has not answered" in line for line in screen(refused))


def test_many_workers_are_shown_around_the_chosen_one() -> None:
    seen = seen_of(status(*(worker(slot) for slot in range(64)), broker=broker()))
    shown, choices = Shown(seen, Details(ROOMS)), Choices()
    for _ in range(40):
        choices.press("down", choices.workers.sort(seen.workers), 0)
    lines = screen(shown, choices)
    assert len(lines) == 24
    (marked,) = [line for line in lines if line.startswith(">")]
    assert marked.split()[:2] == [">", "40"]
    (title,) = [line for line in lines if line.startswith("workers ")]
    first, last = (int(word) for word in title.split() if word.isdigit() and word != "64")
    assert first <= 41 <= last
    assert any("broker" in line for line in lines)
    # What is below gets what is left, not nothing.
    assert any(line.startswith("ROOM") for line in lines)


def test_a_service_that_does_not_answer_is_said_first() -> None:
    shown = Shown(seen_of(status(worker(0))), trouble="no answer since 12:00:00, for 7.0s")
    assert screen(shown)[0] == "no answer since 12:00:00, for 7.0s"
    assert screen(shown.seen, Choices(is_paused=True))[0].endswith("PAUSED")


CONNECTIONS = [
    Connection.of(connection(f"a-{number}", messages_received=number, user="ada"))
    for number in range(200)
]


def test_the_connections_of_a_worker() -> None:
    seen = seen_of(status(worker(0, connections=10_000), worker(1)))
    shown = Shown(seen, Details(slot=0, connections=CONNECTIONS))
    lines = screen(shown, opened())
    assert "main-task-processor/0 pid 100  10000 connections  the 200 with most IN" in lines
    at = next(number for number, line in enumerate(lines) if line.startswith("ID"))
    titles = lines[at].split()
    assert titles[:7] == ["ID", "PEER", "USER", "PATH", "AGE", "IN▼", "OUT"]
    assert titles[-2:] == ["QUEUED", "UNSENT"]
    assert lines[at + 1].split()[:6] == ["a-199", "192.0.2.1:4000", "ada", "/chat", "5.0s", "199"]
    assert lines[-2] != ""
    assert lines[-1].startswith("q quit  ? help  Esc back")
    assert screen(shown, opened(scrolled=198))[at + 1].startswith("a-1 ")
    # Those of a worker that was open before are not shown as this one's.
    other = screen(Shown(seen, Details(slot=1, connections=CONNECTIONS)), opened())
    assert not any(line.startswith("a-") for line in other)
    trouble = Details(slot=0, no_connections="pid 100 has not answered")
    assert any(
        "pid 100 has not answered" in line for line in screen(Shown(seen, trouble), opened())
    )


def test_a_worker_that_is_gone_has_no_connections() -> None:
    seen = seen_of(status(without_worker(0, "down"), worker(1)))
    assert "slot 0 has no worker" in screen(seen, opened())


def test_a_small_terminal_has_rows_and_the_way_out() -> None:
    workers = [worker(slot) for slot in range(20)]
    seen = seen_of(status(*workers, broker=broker(), limits={"expires": 1}))
    for size in (Size(60, 12), Size(40, 10)):
        lines = screen(Shown(seen, Details(ROOMS)), size=size)
        assert any(line.startswith("> ") for line in lines)
        assert lines[-1].startswith("q quit  ? help")
        # What does not fit into the width is left out, not cut.
        assert lines[-1].split()[-1] in {"sort", "worker", "connections"}


@pytest.mark.parametrize("slot", [None, 0])
def test_the_help_fits_and_names_every_column(slot: int | None) -> None:
    choices = Choices(opened=slot, has_help=True)
    lines = screen(seen_of(status(worker(0))), choices)
    assert max(map(len, lines)) <= 80
    table = (choices.workers if slot is None else choices.connections).table
    for column in table.columns:
        assert any(column.help in line for line in lines), column.title


def test_without_a_height_everything_is_shown_and_nothing_asks_for_keys() -> None:
    seen = seen_of(status(*(worker(slot) for slot in range(64))))
    lines = screen(seen, size=Size(160, None))
    assert sum(" ready " in line for line in lines) == 64
    assert not any("quit" in line or line.startswith(">") for line in lines)


def test_a_terminal_without_blocks_gets_ascii() -> None:
    before, after = (
        status(worker(0)),
        status(worker(0, messages_sent=9), totals={"messages_sent": 9}),
    )
    for choices in (Choices(), opened(), Choices(has_help=True)):
        lines = screen(seen_of(before, after), choices, size=Size(80, 24, has_blocks=False))
        assert "".join(lines).isascii()


@given(
    st.integers(20, 200),
    st.integers(3, 60),
    st.integers(0, 40),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, 0]),
    st.text(max_size=200),
)
def test_every_size_is_filled_and_never_exceeded(
    width: int,
    height: int,
    workers: int,
    has_rooms: bool,
    has_blocks: bool,
    slot: int | None,
    trouble: str,
) -> None:
    answer = status(
        *(worker(slot, connections=10**slot) for slot in range(workers)),
        broker=broker() if has_rooms else None,
        limits={"expires": 2},
    )
    rooms = [{"room": "会" * 100, "members": 1, "messages_per_second": 1.0}] if has_rooms else []
    shown = Shown(seen_of(answer, answer), Details(rooms, "", 0, CONNECTIONS), trouble)
    lines = draw(shown, Choices(opened=slot), Size(width, height, has_blocks))
    assert len(lines) == height
    assert all("\n" not in line.plain for line in lines)
