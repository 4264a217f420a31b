"""The output of the verbs for people: the content of ``--json`` in rows.

Rules. Pure: answers of the control socket in, lines out. One line for each worker or connection, so that
grep and awk work on the output. A width limits the lines to so many characters; None leaves them whole.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mpchat.cli.quantities import count, duration, number, or_dash, phrase, size, word
from mpchat.cli.rates import EVENTS
from mpchat.scoreboard.heartbeat import SILENT_SECONDS
from mpchat.tls.shown import WARNING_SECONDS

_WORKER_COLUMNS = ("WORKER", "PID", "STATE", "AGE", "RESTARTS", "CONNS")
_COUNTER_COLUMNS = ("MSG-IN", "MSG-OUT", "IN", "OUT")
_PROCESS_COLUMNS = ("LAG", "CPU", "PSS", "GEN")
_CONNECTION_COLUMNS = ("ID", "PEER", "USER", "PATH", "AGE")
_EXPENDABLE = (
    *("RESTARTS", "GEN", "AGE", "OUT", "IN", "PID", "LAG"),
    *("MSG-OUT", "MSG-IN", "PSS", "CPU"),
)
"""Columns of workers that a narrow terminal does without, in this order."""
_NOT_BEGUN = ("starting", "down", "away")
_NAMES = 5
"""Of a certificate"""
_DAY = 86400


def status_lines(
    answer: dict[str, Any], width: int | None = None, *, per_second: bool = False
) -> Iterator[str]:
    """Return the service's line, a table of its workers, and its totals.

    With ``per_second`` the answer is one of ``with_rates``.
    """
    yield from _wrapped(
        f"mpchat {answer['version']} pid {answer['pid']}: {answer['address']}, "
        f"up {duration(answer['uptime_seconds'])}, "
        f"dynamic config generation {answer['generation']}"
        + _form(answer["workers"])
        + _silence(answer["silent_seconds"]),
        width,
    )
    yield ""
    each = "/s" if per_second else ""
    header = (
        *_WORKER_COLUMNS,
        *(f"{name}{each}" for name in _COUNTER_COLUMNS),
        *_PROCESS_COLUMNS,
    )
    present = [worker for worker in answer["workers"] if worker["state"] != "away"]
    rows = [_worker_row(worker) for worker in present]
    dropped = _too_wide(header, rows, width)
    kept = [index for index, name in enumerate(header) if name not in dropped]
    yield from table(_pick(header, kept), [_pick(row, kept) for row in rows])
    if away := len(answer["workers"]) - len(present):
        yield f"scaled away: {count(away, 'slot')}"
    if dropped:
        yield from _wrapped(f"no room for {', '.join(dropped)}: see --wide", width)
    yield ""
    if answer["broker"] is not None:
        yield from _wrapped(_broker_line(answer["broker"]), width)
    if answer["console"] is not None:
        yield from _wrapped(_console_line(answer["console"]), width)
    if answer["config_service"] is not None:
        yield from _wrapped(_config_service_line(answer["config_service"]), width)
    for line in certificate_lines(answer["certificates"]):
        yield from _wrapped(f"certificate of {line}", width)
    for line in _total_lines(answer, per_second=per_second):
        yield from _wrapped(line, width)


def certificate_lines(certificates: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Return for each certificate where it is served, whose it is, who issued it, and until when."""
    for one in certificates:
        names = one["names"]
        shown = ", ".join(names[:_NAMES]) or "no name"
        if len(names) > _NAMES:
            shown += f" and {count(len(names) - _NAMES, 'other')}"
        if one["subject"] and one["subject"] not in names:
            shown = f"{one['subject']} for {shown}"
        day = time.strftime("%Y-%m-%d", time.gmtime(one["not_after"]))
        left, until = one["seconds_left"], f"until {day}"
        if left <= 0:
            until = f"EXPIRED since {day}"
        elif left <= WARNING_SECONDS:
            until += f": EXPIRES in {duration(left)}"
        else:
            until += f", {count(left // _DAY, 'day')} left"
        issuer = one["issuer"] or "an authority without a name"
        yield phrase(f"{one['listener']}: {shown}, issued by {issuer}, {until}")


def _console_line(console: dict[str, Any]) -> str:
    if console["state"] == "missing":
        return f"no console: {console['missing']}"
    restarts = count(console["restarts"], "restart")
    if console["state"] != "ready":
        return f"no console: it is being replaced ({restarts})"
    silence = _silence(console["silent_seconds"])
    place = "" if console["address"] is None else f"{console['address']}, "
    return f"console pid {console['pid']}{silence}: {place}{restarts}"


def _config_service_line(followed: dict[str, Any]) -> str:
    seconds = followed["succeeded_seconds"]
    last = "no answer yet" if seconds is None else f"last answer {duration(seconds)} ago"
    what = f"config service: {last}, {count(followed['variables'], 'variable')}"
    if followed["failing"]:
        return f"{what}; UPDATES FAIL: mpchat config show --dynamic says why"
    return what


def _broker_line(broker: dict[str, Any]) -> str:
    restarts = count(broker["restarts"], "restart")
    if broker["state"] != "ready":
        return f"no broker: it is being replaced ({restarts}); meanwhile publishes wait"
    history = "no history"
    if broker["history_bytes"]:
        history = f"history {size(broker['history_bytes_used'])} of {size(broker['history_bytes'])}"
    if broker["engine"] == "nats":
        lost = broker["stream_lost_seconds"]
        history = "stream up" if lost is None else f"NO STREAM for {duration(lost)}"
    behind = broker["workers_behind"]
    return (
        f"broker pid {broker['pid']}{_silence(broker['silent_seconds'])}: "
        f"up {duration(broker['age_seconds'])}, "
        f"{count(broker['rooms'], 'room')}, {count(broker['members'], 'member')}, "
        f"{number(broker['messages_per_second'])} messages/s, {history}, "
        + (f"{count(behind, 'worker')} behind, " if behind else "")
        + restarts
    )


def _total_lines(answer: dict[str, Any], *, per_second: bool) -> Iterator[str]:
    totals = answer["totals"]
    if per_second:
        events = ", ".join(f"{number(totals[name])} {name}" for name in EVENTS)
        events = f"per second: {events}"
    else:
        events = (
            f"since the start: {count(totals['handshakes'], 'handshake')}, {totals['closed']} closed, "
            f"{count(totals['requests'], 'request')}, {totals['refused']} refused"
        )
    yield (
        f"open: {count(totals['connections'], 'connection')}, {count(totals['sockets'], 'socket')}; "
        f"{events}"
    )
    each = "/s" if per_second else ""
    yield (
        f"messages{' per second' if per_second else ''}: {number(totals['messages_received'])} in "
        f"({size(totals['bytes_received'])}{each}), {number(totals['messages_sent'])} out "
        f"({size(totals['bytes_sent'])}{each}); log lines lost: {totals['log_lines_dropped']}"
    )
    if answer["faults"]:
        yield f"faults of the supervisor: {answer['faults']}; see its log"
    hit = [f"{name} {hits}" for name, hits in answer["limits"].items() if hits]
    if hit:
        yield f"limits: {', '.join(hit)}"


def _too_wide(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the columns to leave out, so that the others fit into the width if they can."""
    if width is None:
        return []
    widths = {
        name: max(map(len, cells)) for name, *cells in zip(header, header, *rows, strict=True)
    }
    columns = {name.removesuffix("/s"): name for name in header}
    return without_room(widths, [columns[name] for name in _EXPENDABLE], width)


def without_room(
    widths: Mapping[str, int], expendable: Iterable[str], width: int, gap: int = 2
) -> list[str]:
    """Return the columns, the first of the expendable ones, without which the others fit if they can."""
    left = dict(widths)
    dropped: list[str] = []
    for name in expendable:
        if sum(left.values()) + gap * (len(left) - 1) <= width:
            break
        del left[name]
        dropped.append(name)
    return dropped


def _pick(row: Sequence[str], kept: Sequence[int]) -> list[str]:
    return [row[index] for index in kept]


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(
        text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _form(workers: Sequence[dict[str, Any]]) -> str:
    """Return how the hot path of those that have begun to serve runs."""
    forms = [worker["compiled"] for worker in workers if worker["state"] not in _NOT_BEGUN]
    if not forms:
        return ""
    if len(set(forms)) == 1:
        return ", compiled" if forms[0] else ", interpreted"
    return f", {sum(forms)} of {len(forms)} workers compiled"


def connection_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Return a table of connections, the oldest first."""
    found = sorted(answer["connections"], key=lambda row: -row["age_seconds"])
    rows = [
        [
            row["id"],
            row["peer"].replace(" ", "-"),
            word(row["user"]),
            row["path"],
            duration(row["age_seconds"]),
            str(row["messages_received"]),
            str(row["messages_sent"]),
            size(row["bytes_received"]),
            size(row["bytes_sent"]),
            str(row["messages_waiting"]),
            size(row["bytes_waiting"]),
        ]
        for row in found
    ]
    header = (*_CONNECTION_COLUMNS, *_COUNTER_COLUMNS, "QUEUED", "UNSENT")
    yield from table(header, rows)


def room_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Return a table of rooms, in the order of the answer."""
    rows = [
        [word(row["room"]), str(row["members"]), number(row["messages_per_second"])]
        for row in answer["rooms"]
    ]
    yield from table(("ROOM", "MEMBERS", "MSG/s"), rows)


def listener_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Return where the service listens, and a table of its listening sockets."""
    where = answer["unix_socket"]
    if where is None:
        address = answer["address"]
        where = f"{f'[{address}]' if ':' in address else address}:{answer['port']}"
    yield f"listening on {where}, backlog {answer['backlog']}"
    yield ""
    rows = [
        [
            str(slot["slot"]),
            or_dash(slot["waiting"]),
            or_dash(slot["limit"]),
            ",".join(worker["name"] for worker in slot["accepted_by"]) or "-",
            ",".join(str(worker["pid"]) for worker in slot["accepted_by"]) or "-",
        ]
        for slot in answer["slots"]
    ]
    yield from table(("SLOT", "WAITING", "LIMIT", "BY", "PID"), rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Return aligned columns: the first to the left, numbers to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numbers = [index > 0 and _are_numbers(column[1:]) for index, column in enumerate(columns)]
    for row in (header, *rows):
        cells = [
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, numbers, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def _worker_row(worker: dict[str, Any]) -> list[str]:
    silent = worker.get("silent_seconds")
    state = worker["state"]
    if state != "starting":
        state += _silence(silent)
    helper = worker.get("helper")
    if helper is not None:
        state += f",helper:{helper.rpartition('/')[2]}"
    lag = worker.get("loop_lag_ms")
    cpu = worker.get("cpu_percent")
    return [
        worker["name"],
        or_dash(worker.get("pid")),
        state,
        duration(worker.get("age_seconds")),
        str(worker["restarts"]),
        or_dash(worker.get("connections")),
        number(worker["messages_received"]),
        number(worker["messages_sent"]),
        size(worker["bytes_received"]),
        size(worker["bytes_sent"]),
        "-" if lag is None else f"{lag:.1f}ms",
        "-" if cpu is None else f"{cpu:.0f}%",
        size(worker.get("pss_bytes")),
        or_dash(worker.get("generation")),
    ]


def _silence(seconds: float | None) -> str:
    """Return the remark about a process whose loop last turned ``seconds`` ago, empty if it is recent."""
    if seconds is None or seconds <= SILENT_SECONDS:
        return ""
    return f",silent:{duration(seconds)}"


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(cell[:1].isdigit() or cell == "-" for cell in cells)


def serves(worker: dict[str, Any], stuck_seconds: float) -> bool:
    """Return whether a worker takes clients: whether it is ready and its loop is not stuck."""
    silent: float | None = worker.get("silent_seconds")
    return worker["state"] == "ready" and silent is not None and silent < stuck_seconds
