"""The output of the verbs for people: the content of ``--json`` in rows.

Rules. Pure: answers of the control socket in, lines out. One line for each worker or connection, so that
grep and awk work on the output. A width limits the lines to so many characters; None leaves them whole.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from mpchat.scoreboard.heartbeat import SILENT_SECONDS

_WORKER_COLUMNS = ("WORKER", "PID", "STATE", "AGE", "RESTARTS", "CONNS")
_COUNTER_COLUMNS = ("MSG-IN", "MSG-OUT", "IN", "OUT")
_PROCESS_COLUMNS = ("LAG", "CPU", "PSS", "GEN")
_CONNECTION_COLUMNS = ("ID", "PEER", "USER", "PATH", "AGE")
_EXPENDABLE = (
    *("RESTARTS", "GEN", "AGE", "OUT", "IN", "PID", "LAG"),
    *("MSG-OUT", "MSG-IN", "PSS", "CPU"),
)
"""Columns of workers that a narrow terminal does without, in this order."""
_EVENTS = ("handshakes", "closed", "requests", "refused")
_TRAFFIC = ("messages_received", "messages_sent", "bytes_received", "bytes_sent")
_NOT_BEGUN = ("starting", "down", "away")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def status_lines(
    answer: dict[str, Any], width: int | None = None, *, per_second: bool = False
) -> Iterator[str]:
    """Return the service's line, a table of its workers, and its totals.

    With ``per_second`` the answer is one of ``with_rates``.
    """
    yield from _wrapped(
        f"mpchat {answer['version']} pid {answer['pid']}: {answer['address']}, "
        f"up {_duration(answer['uptime_seconds'])}, "
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
        yield f"scaled away: {_count(away, 'slot')}"
    if dropped:
        yield from _wrapped(f"no room for {', '.join(dropped)}: see --wide", width)
    yield ""
    if answer["broker"] is not None:
        yield from _wrapped(_broker_line(answer["broker"]), width)
    if answer["console"] is not None:
        yield from _wrapped(_console_line(answer["console"]), width)
    for line in _total_lines(answer, per_second=per_second):
        yield from _wrapped(line, width)


def _console_line(console: dict[str, Any]) -> str:
    if console["state"] == "missing":
        return f"no console: {console['missing']}"
    restarts = _count(console["restarts"], "restart")
    if console["state"] != "ready":
        return f"no console: it is being replaced ({restarts})"
    silence = _silence(console["silent_seconds"])
    return f"console pid {console['pid']}{silence}: {console['address']}, {restarts}"


def _broker_line(broker: dict[str, Any]) -> str:
    restarts = _count(broker["restarts"], "restart")
    if broker["state"] != "ready":
        return f"no broker: it is being replaced ({restarts}); meanwhile publishes wait"
    history = "no history"
    if broker["history_bytes"]:
        history = (
            f"history {_size(broker['history_bytes_used'])} of {_size(broker['history_bytes'])}"
        )
    if broker["engine"] == "nats":
        lost = broker["stream_lost_seconds"]
        history = "stream up" if lost is None else f"NO STREAM for {_duration(lost)}"
    behind = broker["workers_behind"]
    return (
        f"broker pid {broker['pid']}{_silence(broker['silent_seconds'])}: "
        f"up {_duration(broker['age_seconds'])}, "
        f"{_count(broker['rooms'], 'room')}, {_count(broker['members'], 'member')}, "
        f"{_number(broker['messages_per_second'])} messages/s, {history}, "
        + (f"{_count(behind, 'worker')} behind, " if behind else "")
        + restarts
    )


def _total_lines(answer: dict[str, Any], *, per_second: bool) -> Iterator[str]:
    totals = answer["totals"]
    if per_second:
        events = ", ".join(f"{_number(totals[name])} {name}" for name in _EVENTS)
        events = f"per second: {events}"
    else:
        events = (
            f"since the start: {_count(totals['handshakes'], 'handshake')}, {totals['closed']} closed, "
            f"{_count(totals['requests'], 'request')}, {totals['refused']} refused"
        )
    yield (
        f"open: {_count(totals['connections'], 'connection')}, {_count(totals['sockets'], 'socket')}; "
        f"{events}"
    )
    each = "/s" if per_second else ""
    yield (
        f"messages{' per second' if per_second else ''}: {_number(totals['messages_received'])} in "
        f"({_size(totals['bytes_received'])}{each}), {_number(totals['messages_sent'])} out "
        f"({_size(totals['bytes_sent'])}{each}); log lines lost: {totals['log_lines_dropped']}"
    )
    if answer["faults"]:
        yield f"faults of the supervisor: {answer['faults']}; see its log"
    hit = [f"{name} {count}" for name, count in answer["limits"].items() if count]
    if hit:
        yield f"limits: {', '.join(hit)}"


def with_rates(
    answer: dict[str, Any], before: dict[str, Any] | None, seconds: float
) -> dict[str, Any]:
    """Return a status with rates per second in the place of counters.

    ``before`` is the status ``seconds`` ago; a rate is None without it, and after a new start.
    """
    if before is None or before["pid"] != answer["pid"]:
        before = {"workers": [], "totals": {}}
    earlier = {worker["name"]: worker for worker in before["workers"]}
    workers = [
        worker | _rates(worker, earlier.get(worker["name"], {}), _TRAFFIC, seconds)
        for worker in answer["workers"]
    ]
    totals = _rates(answer["totals"], before["totals"], (*_EVENTS, *_TRAFFIC), seconds)
    return answer | {"workers": workers, "totals": answer["totals"] | totals}


def _rates(
    now: dict[str, Any], before: dict[str, Any], names: Sequence[str], seconds: float
) -> dict[str, float | None]:
    return {
        name: (now[name] - before[name]) / seconds if name in before and seconds > 0 else None
        for name in names
    }


def _too_wide(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the columns to leave out, so that the others fit into the width if they can."""
    widths = {
        name: max(map(len, cells)) for name, *cells in zip(header, header, *rows, strict=True)
    }
    dropped: list[str] = []
    for name in _EXPENDABLE:
        if width is None or sum(widths.values()) + 2 * (len(widths) - 1) <= width:
            break
        column = next(column for column in header if column.removesuffix("/s") == name)
        del widths[column]
        dropped.append(column)
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
            _word(row["user"]),
            row["path"],
            _duration(row["age_seconds"]),
            str(row["messages_received"]),
            str(row["messages_sent"]),
            _size(row["bytes_received"]),
            _size(row["bytes_sent"]),
            str(row["messages_waiting"]),
            _size(row["bytes_waiting"]),
        ]
        for row in found
    ]
    header = (*_CONNECTION_COLUMNS, *_COUNTER_COLUMNS, "QUEUED", "UNSENT")
    yield from table(header, rows)


def room_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Return a table of rooms, in the order of the answer."""
    rows = [
        [_word(row["room"]), str(row["members"]), _number(row["messages_per_second"])]
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
            _or_dash(slot["waiting"]),
            _or_dash(slot["limit"]),
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
        _or_dash(worker.get("pid")),
        state,
        _duration(worker.get("age_seconds")),
        str(worker["restarts"]),
        _or_dash(worker.get("connections")),
        _number(worker["messages_received"]),
        _number(worker["messages_sent"]),
        _size(worker["bytes_received"]),
        _size(worker["bytes_sent"]),
        "-" if lag is None else f"{lag:.1f}ms",
        "-" if cpu is None else f"{cpu:.0f}%",
        _size(worker.get("pss_bytes")),
        _or_dash(worker.get("generation")),
    ]


def _silence(seconds: float | None) -> str:
    """Return the remark about a process whose loop last turned ``seconds`` ago, empty if it is recent."""
    if seconds is None or seconds <= SILENT_SECONDS:
        return ""
    return f",silent:{_duration(seconds)}"


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(cell[:1].isdigit() or cell == "-" for cell in cells)


def serves(worker: dict[str, Any], stuck_seconds: float) -> bool:
    """Return whether a worker takes clients: whether it is ready and its loop is not stuck."""
    silent: float | None = worker.get("silent_seconds")
    return worker["state"] == "ready" and silent is not None and silent < stuck_seconds


def _word(text: str | None) -> str:
    """Return any text as one word that no terminal obeys; an author may take it from a client."""
    if not text:
        return "-"
    return "".join(char if char.isprintable() and char != " " else "�" for char in text)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _number(value: float | None) -> str:
    """Return a count as it is, a small rate with one decimal."""
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) and value < 100 else f"{value:.0f}"


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def _size(count: float | None) -> str:
    """Return a number of bytes in three digits and a unit."""
    if count is None:
        return "-"
    value = float(count)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f}{unit}" if unit == "B" or value >= 100 else f"{value:.1f}{unit}"
        value /= 1024
    return ""


def _duration(seconds: float | None) -> str:
    """Return a time span in its two largest units."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02}h"
