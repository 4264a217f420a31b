"""The output of the verbs for people."""

from __future__ import annotations

from typing import Any

import pytest

from mpchat.cli.rates import with_rates
from mpchat.cli.tables import (
    connection_lines,
    listener_lines,
    room_lines,
    serves,
    status_lines,
    table,
)
from mpchat.scoreboard.counters import GAUGES, LIMITS, TOTALS

TOTALS_SO_FAR = dict.fromkeys(TOTALS, 3) | {"bytes_received": 123_456_789}
WORKER: dict[str, Any] = {
    "name": "main/0",
    "pid": 7,
    "state": "ready",
    "age_seconds": 93_784.0,
    "restarts": 2,
    "generation": 4,
    "compiled": True,
    "loop_lag_ms": 1.25,
    "silent_seconds": 0.1,
    "cpu_percent": 12.5,
    "pss_bytes": 10 * 1024 * 1024,
    **dict.fromkeys(GAUGES, 5),
    **TOTALS_SO_FAR,
}
STATUS: dict[str, Any] = {
    "version": "1.2",
    "pid": 6,
    "address": "ws://localhost:80/chat",
    "uptime_seconds": 61.5,
    "silent_seconds": 0.2,
    "generation": 4,
    "faults": 0,
    "hang_timeout_seconds": 15.0,
    "broker": None,
    "console": None,
    "config_service": None,
    "certificates": [],
    "workers": [
        WORKER,
        WORKER | {"name": "main/1", "silent_seconds": 12.0, "cpu_percent": None},
        {"name": "main/2", "state": "down", "restarts": 9, **TOTALS_SO_FAR},
    ],
    "totals": {**TOTALS_SO_FAR, **dict.fromkeys(GAUGES, 5)},
    "limits": dict.fromkeys(LIMITS, 0) | {"write-timeout": 2, "max-remote-payload": 40},
}


def test_status_tells_of_faults_only_if_there_are_any() -> None:
    assert not any("fault" in line for line in status_lines(STATUS))
    lines = list(status_lines(STATUS | {"faults": 3}))
    assert "faults of the supervisor: 3; see its log" in lines


BROKER: dict[str, Any] = {
    "state": "ready",
    "pid": 8,
    "age_seconds": 61.0,
    "restarts": 2,
    "silent_seconds": 0.1,
    "rooms": 1,
    "members": 340,
    "messages": 9000,
    "messages_per_second": 25.5,
    "history_bytes_used": 3 * 1024 * 1024,
    "history_bytes": 64 * 1024 * 1024,
    "engine": "host",
    "stream_lost_seconds": None,
    "workers_behind": 0,
}


def broker_line(**changes: object) -> str:
    lines = list(status_lines(STATUS | {"broker": BROKER | changes}))
    (line,) = [line for line in lines if "broker" in line]
    return line


CONSOLE: dict[str, Any] = {
    "state": "ready",
    "address": "http://127.0.0.1:8081/",
    "missing": None,
    "pid": 9,
    "restarts": 1,
    "silent_seconds": 0.1,
}


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "console pid 9: http://127.0.0.1:8081/, 1 restart"),
        (
            {"silent_seconds": 7.0},
            "console pid 9,silent:7.0s: http://127.0.0.1:8081/, 1 restart",
        ),
        ({"state": "down"}, "no console: it is being replaced (1 restart)"),
        ({"state": "missing", "missing": "without aiohttp"}, "no console: without aiohttp"),
    ],
)
def test_status_shows_the_console_where_there_is_to_be_one(
    changes: dict[str, Any], shown: str
) -> None:
    assert not any("console" in line for line in status_lines(STATUS))
    lines = list(status_lines(STATUS | {"console": CONSOLE | changes}))
    assert [line for line in lines if "console" in line] == [shown]


CERTIFICATE: dict[str, Any] = {
    "listener": "listener",
    "path": "/etc/mpchat/tls/fullchain.pem",
    "subject": "chat.example.com",
    "names": ["chat.example.com", "www.chat.example.com"],
    "issuer": "E7",
    "not_before": 1796083200,
    "not_after": 1803772799,
    "seconds_left": 88 * 86400 + 5,
}


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        (
            {},
            "chat.example.com, www.chat.example.com, issued by E7, until 2027-02-27, 88 days left",
        ),
        (
            {"subject": "chat", "names": ["a", "10.0.0.5"]},
            "chat for a, 10.0.0.5, issued by E7, until 2027-02-27, 88 days left",
        ),
        (
            {"subject": "", "names": [*"abcdefg"]},
            "a, b, c, d, e and 2 others, issued by E7, until 2027-02-27, 88 days left",
        ),
        (
            {"subject": "ada\x1b[2J", "names": [], "issuer": ""},
            "ada�[2J for no name, issued by an authority without a name, until 2027-02-27, 88 days left",
        ),
        (
            {"names": ["chat.example.com"], "seconds_left": 14 * 86400},
            "chat.example.com, issued by E7, until 2027-02-27: EXPIRES in 14d00h",
        ),
        (
            {"names": ["chat.example.com"], "seconds_left": 0},
            "chat.example.com, issued by E7, EXPIRED since 2027-02-27",
        ),
    ],
)
def test_status_shows_whose_each_certificate_is_and_until_when(
    changes: dict[str, Any], shown: str
) -> None:
    assert not any("certificate" in line for line in status_lines(STATUS))
    lines = list(status_lines(STATUS | {"certificates": [CERTIFICATE | changes, CERTIFICATE]}))
    found = [line for line in lines if "certificate" in line]
    assert found[0] == f"certificate of listener: {shown}"
    assert len(found) == 2


def test_status_shows_the_broker_where_there_are_rooms() -> None:
    assert not any("broker" in line for line in status_lines(STATUS))
    assert broker_line() == (
        "broker pid 8: up 1m01s, 1 room, 340 members, 25.5 messages/s, history 3.0MiB of 64.0MiB, "
        "2 restarts"
    )
    assert "no history" in broker_line(history_bytes=0)
    shared = {"engine": "nats", "history_bytes": 0}
    assert ", stream up, " in broker_line(**shared)
    assert ", NO STREAM for 1m01s, " in broker_line(**shared, stream_lost_seconds=61.0)
    assert "pid 8,silent:3.0s:" in broker_line(silent_seconds=3.0)
    assert "2 workers behind" in broker_line(workers_behind=2)
    assert broker_line(restarts=1).endswith(", 1 restart")
    for state in ("down", "starting"):
        expected = "no broker: it is being replaced (2 restarts); meanwhile publishes wait"
        assert broker_line(state=state) == expected


def test_rooms_come_as_the_broker_has_sorted_them() -> None:
    rows = [
        {"room": "b c\x1b", "members": 3, "messages_per_second": 0.5},
        {"room": "a", "members": 12, "messages_per_second": 250.0},
    ]
    assert list(room_lines({"rooms": rows})) == [
        "ROOM  MEMBERS  MSG/s",
        "b�c�        3    0.5",
        "a          12    250",
    ]


def test_status() -> None:
    lines = list(status_lines(STATUS))
    assert lines[0] == (
        "mpchat 1.2 pid 6: ws://localhost:80/chat, up 1m01s, dynamic config generation 4, compiled"
    )
    rows = [line.split() for line in lines[2:6]]
    assert len({len(row) for row in rows}) == 1
    assert rows[1][:6] == ["main/0", "7", "ready", "1d02h", "2", "5"]
    assert rows[1][8:] == ["118MiB", "3B", "1.2ms", "12%", "10.0MiB", "4"]
    assert rows[2][2] == "ready,silent:12.0s"
    assert rows[3][:4] == ["main/2", "-", "down", "-"]
    assert "log lines lost: 3" in lines[-2]
    assert lines[-1] == "limits: max-remote-payload 40, write-timeout 2"
    calm = STATUS | {"limits": dict.fromkeys(LIMITS, 0)}
    assert list(status_lines(calm)) == lines[:-1]


def test_status_says_how_the_hot_path_runs() -> None:
    def form(*workers: dict[str, Any]) -> str:
        return next(status_lines(STATUS | {"workers": workers})).rpartition(", ")[2]

    interpreted = WORKER | {"compiled": False}
    # Before it has begun, the row still has what its predecessor said.
    waiting = interpreted | {"state": "starting"}
    assert form(WORKER, waiting) == "compiled"
    assert form(interpreted) == "interpreted"
    assert form(WORKER, interpreted, WORKER) == "2 of 3 workers compiled"
    assert form(waiting) == "dynamic config generation 4"


def test_slots_that_are_scaled_away_are_counted() -> None:
    away = {"state": "away", "restarts": 0, "helper": "main/0", **TOTALS_SO_FAR}
    workers = [*STATUS["workers"], *(away | {"name": f"main/{slot}"} for slot in (3, 4))]
    lines = list(status_lines(STATUS | {"workers": workers}))
    assert lines[6] == "scaled away: 2 slots"
    assert not any("main/3" in line for line in lines)
    ones = STATUS | {"totals": dict.fromkeys(STATUS["totals"], 1)}
    (totals,) = [line for line in status_lines(ones) if line.startswith("open:")]
    assert totals == (
        "open: 1 connection, 1 socket; since the start: 1 handshake, 1 closed, 1 request, 1 refused"
    )


def test_who_serves() -> None:
    assert serves(WORKER, 15)
    assert serves(WORKER | {"silent_seconds": 14.0}, 15)
    assert not serves(WORKER | {"silent_seconds": 15.5}, 15)
    assert not serves(WORKER | {"silent_seconds": None}, 15)
    for state in ("starting", "retiring", "stopping", "down"):
        assert not serves(WORKER | {"state": state}, 15)


def test_connections_are_sorted_by_age_and_have_one_word_a_column() -> None:
    row = {
        "id": "a-1",
        "peer": "unix socket",
        "user": None,
        "path": "/chat",
        "age_seconds": 1.0,
        "messages_received": 1,
        "messages_sent": 2,
        "bytes_received": 1000,
        "bytes_sent": 0,
        "messages_waiting": 0,
        "bytes_waiting": 70_000,
    }
    older = row | {"id": "a-0", "user": "ada l\x1b[2J", "age_seconds": 9.0}
    header, first, second = connection_lines({"connections": [row, older]})
    # A name that an author takes from a client commands no terminal.
    assert first.split()[:5] == ["a-0", "unix-socket", "ada�l�[2J", "/chat", "9.0s"]
    assert first.split()[5:] == ["1", "2", "1.0KiB", "0B", "0", "68.4KiB"]
    assert second.split()[:3] == ["a-1", "unix-socket", "-"]
    assert len(header.split()) == len(first.split())


def test_an_empty_table_is_its_header() -> None:
    assert list(table(["A", "B"], [])) == ["A  B"]


WIDE = STATUS | {
    "workers": [WORKER | {"name": f"main-task-processor/{slot}"} for slot in range(3)],
}


@pytest.mark.parametrize("width", [70, 80, 100, 110])
def test_a_narrow_terminal_gets_what_fits(width: int) -> None:
    lines = list(status_lines(WIDE, width))
    assert max(map(len, lines)) <= width
    header = next(line for line in lines if line.startswith("WORKER")).split()
    assert header[0] == "WORKER"
    assert {"STATE", "CONNS"} <= set(header)
    (dropped,) = (line for line in lines if line.startswith("no room for"))
    columns = dropped.removeprefix("no room for ").removesuffix(": see --wide").split(", ")
    assert {*header, *columns} == set(table_header(list(status_lines(WIDE))))


def table_header(lines: list[str]) -> list[str]:
    return next(line for line in lines if line.startswith("WORKER")).split()


def test_eighty_columns_show_what_an_operator_looks_for() -> None:
    header = table_header(list(status_lines(WIDE, 80)))
    assert {"WORKER", "STATE", "CONNS", "MSG-IN", "MSG-OUT", "LAG", "CPU", "PSS"} <= set(header)
    assert all("no room" not in line for line in status_lines(WIDE, 200))


def test_a_width_that_suffices_changes_nothing() -> None:
    assert list(status_lines(STATUS, 200)) == list(status_lines(STATUS))


def test_rates_take_the_place_of_counters() -> None:
    totals = STATUS["totals"] | {"messages_received": 23, "handshakes": 4, "bytes_sent": 2051}
    workers = [WORKER | {"messages_received": 2003, "bytes_sent": 2051}, *STATUS["workers"][1:]]
    rated = with_rates(STATUS | {"totals": totals, "workers": workers}, STATUS, 2.0)
    lines = list(status_lines(rated, per_second=True))
    first = dict(zip(lines[2].split(), lines[3].split(), strict=True))
    assert (first["MSG-IN/s"], first["OUT/s"], first["MSG-OUT/s"]) == ("1000", "1.0KiB", "0.0")
    assert "per second: 0.5 handshakes, 0.0 closed" in lines[-3]
    assert lines[-2].startswith("messages per second: 10.0 in (0B/s), 0.0 out (1.0KiB/s);")


def test_there_is_no_rate_before_the_second_look_and_after_a_new_start() -> None:
    for before in (None, STATUS | {"pid": 1}):
        rated = with_rates(STATUS, before, 2.0)
        assert rated["workers"][0]["messages_sent"] is None
        lines = list(status_lines(rated, per_second=True))
        assert lines[-2].startswith("messages per second: - in (-/s), - out (-/s);")


def test_listeners() -> None:
    slots = [
        {
            "slot": 0,
            "waiting": 3,
            "limit": 128,
            "accepted_by": [{"name": "m/0", "pid": 7}, {"name": "m/1", "pid": 8}],
        },
        {"slot": 1, "waiting": None, "limit": None, "accepted_by": []},
    ]
    answer = {"address": "::", "port": 80, "unix_socket": None, "backlog": 1024, "slots": slots}
    assert list(listener_lines(answer)) == [
        "listening on [::]:80, backlog 1024",
        "",
        "SLOT  WAITING  LIMIT  BY       PID",
        "0           3    128  m/0,m/1  7,8",
        "1           -      -  -          -",
    ]
    answer |= {"address": None, "port": None, "unix_socket": "/run/chat.sock"}
    assert next(listener_lines(answer)) == "listening on /run/chat.sock, backlog 1024"
    answer |= {"address": "0.0.0.0", "port": 1, "unix_socket": None}
    assert next(listener_lines(answer)).startswith("listening on 0.0.0.0:1,")
