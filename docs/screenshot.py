"""The section about ``mpchat top`` on the page of operators; the service on its screen is made up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpchat.cli.top.choices import Choices
from mpchat.cli.top.drawing import Size
from mpchat.cli.top.history import History
from mpchat.cli.top.tables import MOST_CONNECTIONS, Details
from mpchat.cli.top.view import KEYS, Shown, draw
from mpchat.scoreboard.counters import GAUGES, LIMITS, TOTALS

_SECONDS = 300
"""Seconds that the service was watched for"""
_MIB = 1024 * 1024
_ROOMS = (("lobby", 412, 88.0), ("support", 36, 4.5), ("room-0042", 12, 0.5))


_BEFORE = """\
`mpchat top -c static_config.yaml` shows each second what a service does; it needs `pip install
'mpchat[top]'`. Like every verb it asks the [control socket](control-socket.md), so it runs on the
service's host, also over ssh.
"""
_AFTER = """\
What has `/s` is per second. `5 MIN` shows the messages of the last five minutes, all workers on one
scale. The broker's row has the members of rooms, messages published, and messages sent to workers. A
narrow terminal has fewer columns, a wide one all: also age, restarts, generation, bytes. Limits that
were reached within these minutes come first. At the bottom stands what has changed, the newest first:
workers that ended and began, drains, reloads.
"""
_REST = f"""\
A service that does not answer is shown as such until it is back. Connections are those with most of
what they are sorted by, at most {MOST_CONNECTIONS}; the worker is asked only while they are shown.
`NO_COLOR` turns colours off. A dumb terminal gets one table after the other, a pipe or a file a single
one.
"""


def watching() -> Iterator[str]:
    """Return the lines of the section."""
    yield from (
        "## Watching a service",
        "",
        _BEFORE,
        "```text",
        *_screen(80, 24),
        "```",
        "",
        _AFTER,
    )
    yield from ("| Key | Effect |", "| --- | --- |")
    yield from (f"| {key} | {meaning} |" for key, meaning in KEYS)
    yield from ("", _REST)


def _screen(columns: int, lines: int) -> list[str]:
    history = History()
    for second in range(_SECONDS + 1):
        minute, rest = divmod(second, 60)
        seen = history.take(_status(second), second, f"12:{minute:02}:{rest:02}")
    rooms = [
        {"room": name, "members": members, "messages_per_second": rate}
        for name, members, rate in _ROOMS
    ]
    drawn = draw(Shown(seen, Details(rooms)), Choices(), Size(columns, lines))
    return [line.plain.rstrip() for line in drawn]


def _status(second: int) -> dict[str, Any]:
    workers = [_worker(slot, second) for slot in range(4)]
    sums = {name: sum(worker[name] for worker in workers) for name in (*TOTALS, *GAUGES)}
    return {
        "version": "0.1.0",
        "pid": 4100,
        "address": "ws://localhost:8080/rooms/{room}",
        "uptime_seconds": 93_600.0 + second,
        "silent_seconds": 0.1,
        "generation": 3 if second > 200 else 2,
        "faults": 0,
        "broker": _broker(second),
        "workers": workers,
        "totals": sums,
        "limits": dict.fromkeys(LIMITS, 0) | {"max-messages-per-second": 2 if second < 250 else 5},
    }


def _worker(slot: int, second: int) -> dict[str, Any]:
    """Return a worker that has more to do by and by; the third one was killed on the way."""
    is_new = slot == 2 and second >= 240
    received = (20 + 5 * slot) * second + second * second // 8
    numbers = {
        "messages_received": received,
        "messages_sent": 9 * received,
        "bytes_received": 64 * received,
        "bytes_sent": 9 * 64 * received,
        "connections": 118 - 7 * slot,
        "sockets": 118 - 7 * slot,
        "handshakes": 118 + second // 10,
    }
    return {
        "name": f"main-task-processor/{slot}",
        "slot": slot,
        "pid": 4230 if is_new else 4103 + slot,
        "state": "ready",
        "age_seconds": second - 240.0 if is_new else 93_600.0 + second,
        "restarts": int(is_new),
        "helper": None,
        "generation": 3 if second > 200 else 2,
        "loop_lag_ms": 0.4 + slot / 10,
        "silent_seconds": 0.1,
        "cpu_percent": 31.0 + 3 * slot,
        "pss_bytes": (21 + slot) * _MIB,
        **dict.fromkeys((*TOTALS, *GAUGES), 0),
        **numbers,
    }


def _broker(second: int) -> dict[str, Any]:
    return {
        "state": "ready",
        "pid": 4102,
        "age_seconds": 93_600.0 + second,
        "restarts": 0,
        "silent_seconds": 0.1,
        "rooms": 43,
        "members": 473,
        "messages_per_second": 93.0,
        "history_bytes_used": 11 * _MIB,
        "history_bytes": 64 * _MIB,
        "workers_behind": 0,
        "delivered": 372 * second,
        "engine": "host",
        "stream_lost_seconds": None,
        "cpu_seconds": 0.04 * second,
        "pss_bytes": 14 * _MIB,
    }
