"""Medians, pairs, tables and the plot, from samples made up by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bench import environment, report
from bench.page import in_short, page, with_paragraph
from bench.plot import PANELS, plot
from bench.results import Document, Results, Run, dumped, merged
from bench.rows import EACH_READY, ROWS
from bench.servers import (
    BASE,
    CHANNELS,
    ECHO,
    INTERPRETED,
    NODE,
    OURS,
    SERVERS,
    SOCKETIO,
    UNTIMED,
    UPPER,
)

DOCS = Path(__file__).parents[3] / "docs"
ROW = "32 B, 64 connections"
TEXT = "32 B of text, 64 connections"
IDLE = "Idle connection, of 5,000"
PICOWS = next(server for server in SERVERS if server.name == "picows.websockets")
CALLBACKS = next(server for server in SERVERS if server.name == "picows callbacks")
AIOHTTP = next(server for server in SERVERS if server.name == "aiohttp")


def sample(row: str, server: str, number: int, value: float, **more: float) -> dict[str, Any]:
    fields = {"p50_us": 0.0, "p99_us": 0.0, "per_second": 1.0, "client_us": 1.0, **more}
    return {"row": row, "server": server, "round": number, "value": value, **fields}


def run(*samples: dict[str, Any], **more: Any) -> Run:
    return {
        "date": "2030-01-02",
        "cpu": "Z80 <fast> & old",
        "kernel": "Linux 99",
        "python": "CPython 3.99 with PGO, abacus",
        "mpchat": "compiled",
        "versions": {"mpchat": "7.8.9"},
        "missing": {},
        "servers": {},
        "loads": {},
        "upper_us": {},
        "samples": list(samples),
        **more,
    }


def document(*samples: dict[str, Any], **more: Any) -> Document:
    return {"runs": [run(*samples, **more)]}


def rounds(row: str, server: str, *values: float) -> list[dict[str, Any]]:
    return [sample(row, server, number, value) for number, value in enumerate(values)]


def test_the_median_of_the_rounds() -> None:
    results = Results(run(*rounds(ROW, "mpchat", 9, 1, 2)))
    assert results.median(ROW, OURS) == 2
    assert results.median(ROW, BASE) is None


def test_ratios_are_taken_within_a_round() -> None:
    # The second round was three times slower for both: the ratio of the medians would be 1.5.
    base = rounds(ROW, BASE.name, 10, 30, 20)
    ours = rounds(ROW, "mpchat", 20, 60, 30)
    results = Results(run(*base, *ours))
    assert results.ratio(ROW, OURS) == 2
    assert results.ratio(ROW, BASE) == 1
    assert results.ratio(ROW, PICOWS) is None


def test_a_round_without_its_pair_does_not_count() -> None:
    samples = [sample(ROW, BASE.name, 0, 10), sample(ROW, "mpchat", 0, 20)]
    results = Results(run(*samples, sample(ROW, "mpchat", 1, 1000)))
    assert results.ratio(ROW, OURS) == 2


def test_what_an_outside_handler_costs_beyond_upper() -> None:
    echo = rounds(TEXT, OURS.name, 10, 20, 10)
    upper = rounds(TEXT, UPPER.name, 13, 24, 13)
    text = report.tables(run(*echo, *upper, upper_us={TEXT: 2.0}))
    line = next(line for line in text.splitlines() if TEXT in line and "2.00" in line)
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        TEXT,
        "10.0",
        "13.0",
        "2.00",
        "1.10",
    ]


def test_who_is_ahead() -> None:
    samples = [
        sample(ROW, BASE.name, 0, 1),
        sample(ROW, OURS.name, 0, 10),
        sample(ROW, PICOWS.name, 0, 9),
        sample(ROW, CALLBACKS.name, 0, 8),
        sample(ROW, AIOHTTP.name, 0, 11),
    ]
    row = next(row for row in ROWS if row.name == ROW)
    assert Results(run(*samples)).ahead(row) == {CALLBACKS: 0.8, PICOWS: 0.9}
    last = page(document(*samples)).splitlines()[-1]
    assert last == f"- {ROW}: picows callbacks 0.80, picows.websockets 0.90"
    assert "Nowhere in this run." in page(document(*samples[:2]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.00"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1234.5, "1,234"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert report.number(value) == text


def test_a_table_is_aligned() -> None:
    text = report.table(["row", "a", "long name"], [["1", "2", "3"], ["wide row", "5", "6"]])
    assert text.splitlines() == [
        "| row      | a | long name |",
        "| -------- | -: | --------: |".replace("-: ", ": ", 1),
        "| 1        | 2 |         3 |",
        "| wide row | 5 |         6 |",
    ]


def test_the_page_has_what_was_measured() -> None:
    text = page(
        document(
            *rounds(ROW, BASE.name, 10),
            *rounds(ROW, "mpchat", 25),
            *rounds(IDLE, "mpchat", 6.5),
            sample("32 B, 1 connection", "mpchat", 0, 30, p50_us=51.2, p99_us=99.6),
            sample(EACH_READY, "mpchat", 0, 15.5),
        )
    )
    told = " ".join(text.split())
    for wanted in (
        "2030-01-02",
        "Z80",
        "CPython 3.99 with PGO, abacus",
        "mpchat 7.8.9",
        "mpchat is compiled",
        "2.50",
        "6.50",
        "51 / 100",
        "15.5",
    ):
        assert wanted in told
    assert "granian 1" not in told


def test_a_server_that_could_not_run_is_told_with_its_reason() -> None:
    text = page(document(*rounds(ROW, OURS.name, 1), missing={"ws on Node.js": "npm: no network"}))
    assert "Not measured: ws on Node.js (npm: no network)." in " ".join(text.split())


def test_the_plot_is_svg_with_a_bar_for_each_server() -> None:
    samples = [
        sample(name, server.name, 0, 1 + index)
        for name in PANELS
        for index, server in enumerate(SERVERS)
        if server is not UPPER
    ]
    root = ElementTree.fromstring(plot(document(*samples)))
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    space = "{http://www.w3.org/2000/svg}"
    bars = root.findall(f"{space}rect")[1:]
    assert len(bars) == len(samples)
    for bar in bars:
        x, y, wide, high = (float(bar.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x + wide < width
        assert y + high < height
    texts = [element.text or "" for element in root.findall(f"{space}text")]
    assert any("Z80 <fast> & old" in text for text in texts)
    assert sum(text == "mpchat" for text in texts) == len(PANELS)


def test_the_pages_in_docs_are_printed_from_their_json() -> None:
    measured = json.loads((DOCS / "benchmark.json").read_text())
    readme = (DOCS.parent / "README.md").read_text()
    hint = "cd loadtests && ../.venv/bin/python -m bench --again --write ../docs"
    assert (DOCS / "benchmark.md").read_text() == page(measured), hint
    assert (DOCS / "benchmark.svg").read_text() == plot(measured), hint
    assert in_short(measured) in readme, hint
    assert with_paragraph(readme, measured) == readme, hint


def test_the_panels_are_rows() -> None:
    assert set(PANELS) <= {row.name for row in ROWS}


def test_a_flood_is_told_as_latency_and_not_as_cost() -> None:
    row = "32 B, 100 connections beside one that floods"
    tables = report.tables(run(sample(row, "mpchat", 0, 2200, p50_us=1100, p99_us=2200)))
    assert "Latency" in tables
    assert "1100 / 2200" in tables
    assert "CPU" not in tables


def test_a_run_takes_the_place_of_that_machine_and_interpreter() -> None:
    old = run(*rounds(ROW, OURS.name, 1), *rounds(IDLE, OURS.name, 5))
    new = run(*rounds(ROW, OURS.name, 2), date="2031-01-01")
    others = [run(python="CPython 3.98 without PGO, abacus"), run(cpu="Z81")]
    replaced = merged({"runs": [others[0], old, others[1]]}, new, add=False)
    assert replaced == {"runs": [others[0], new, others[1]]}
    assert merged({"runs": others}, new, add=False) == {"runs": [*others, new]}


def test_rows_are_added_to_those_of_the_same_machine() -> None:
    old = run(*rounds(ROW, OURS.name, 1, 1), *rounds(IDLE, OURS.name, 5), upper_us={TEXT: 2.0})
    new = run(*rounds(ROW, OURS.name, 2), date="2031-01-01")
    (both,) = merged({"runs": [old]}, new, add=True)["runs"]
    assert both["samples"] == [*rounds(IDLE, OURS.name, 5), *rounds(ROW, OURS.name, 2)]
    assert both["upper_us"] == {TEXT: 2.0}
    assert (both["date"], both["oldest"]) == ("2031-01-01", "2030-01-02")
    (thrice,) = merged({"runs": [both]}, run(*rounds(ROW, OURS.name, 3)), add=True)["runs"]
    assert thrice["oldest"] == "2030-01-02"
    assert "Measured on 2031-01-01 (rows that were kept: from 2030-01-02 on)" in page(
        {"runs": [both]}
    )


def test_each_sample_is_a_line_of_json() -> None:
    whole = document(*rounds(ROW, OURS.name, 1, 2), upper_us={TEXT: 2.0})
    text = dumped(whole)
    assert json.loads(text) == whole
    assert sum('"round"' in line and '"value"' in line for line in text.splitlines()) == 2


@pytest.mark.parametrize(
    "other", [{"mpchat": "interpreted"}, {"versions": {"mpchat": "7.8.8", "picows": "1"}}]
)
def test_rows_of_another_form_or_release_are_not_kept(other: dict[str, Any]) -> None:
    old = run(*rounds(IDLE, OURS.name, 5), **other)
    new = run(*rounds(ROW, OURS.name, 2))
    assert merged({"runs": [old]}, new, add=True) == {"runs": [new]}


def test_the_paragraph_holds_for_the_worst_machine() -> None:
    slow = run(
        *rounds(ROW, BASE.name, 10), *rounds(ROW, OURS.name, 30), *rounds(ROW, PICOWS.name, 40)
    )
    fast = run(
        *rounds(ROW, BASE.name, 10), *rounds(ROW, OURS.name, 15), *rounds(ROW, AIOHTTP.name, 14)
    )
    for runs in ([slow, fast], [fast, slow]):
        text = " ".join(in_short({"runs": runs}).split())
        assert "costs at most 3.00 times one of bare TCP (there picows.websockets 4.00);" in text
        assert f"Of 1 rows, others still cost less somewhere: aiohttp in 1 ({ROW})." in text


def test_nobody_is_ahead() -> None:
    samples = [*rounds(ROW, OURS.name, 1), *rounds(ROW, PICOWS.name, 2)]
    assert "No other server costs less" in " ".join(in_short(document(*samples)).split())


def test_the_plot_is_of_the_machine_that_costs_most() -> None:
    def whole(cpu: str, ours: float) -> Run:
        values = {BASE.name: 1.0, OURS.name: ours}
        samples = [sample(name, s, 0, value) for name in PANELS for s, value in values.items()]
        return run(*samples, cpu=cpu)

    short = run(sample(ROW, BASE.name, 0, 1), sample(ROW, OURS.name, 0, 9), cpu="in short")
    svg = plot({"runs": [whole("good", 1.5), short, whole("bad", 2.5)]})
    assert "bad" in svg
    assert "good" not in svg
    assert "in short" not in svg


def test_a_bar_that_is_far_beyond_all_others_is_cut() -> None:
    def widths(most: float) -> list[float]:
        costs = {BASE: 10, OURS: 15, AIOHTTP: 20, PICOWS: most}
        svg = plot(document(*(sample(ROW, s.name, 0, cost) for s, cost in costs.items())))
        root = ElementTree.fromstring(svg)
        space = "{http://www.w3.org/2000/svg}"
        assert len(root.findall(f"{space}path")) == (most > 160)
        assert any((text.text or "").startswith(report.number(most)) for text in root.iter())
        return [float(bar.attrib["width"]) for bar in root.findall(f"{space}rect")[1:]]

    base, _ours, aiohttp, longest = widths(160)
    assert longest == pytest.approx(8 * aiohttp, rel=0.01)
    base, _ours, aiohttp, longest = widths(2_000)
    assert aiohttp == pytest.approx(2 * base, rel=0.01)
    assert longest == pytest.approx(1.2 * aiohttp, rel=0.01)


def test_rest_and_compression_have_tables_of_their_own() -> None:
    rest = "An hour of a connection at rest, of 5,000"
    packed = "1 KiB of JSON, compressed, 64 connections"
    text = report.tables(
        run(
            sample(rest, OURS.name, 0, 4.25),
            sample(packed, BASE.name, 0, 10),
            sample(packed, OURS.name, 0, 40, wire_bytes=286.0),
        )
    )
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line}
    assert "4.25" in lines[rest]
    assert "286" in lines[packed]
    assert "CPU, ms" in lines
    assert "Bytes of an answer" in lines


def test_rooms_have_tables_of_their_own() -> None:
    room, alone = "64 B to 100 members", "64 B to 100 members, their worker alone"
    spread, joined = "32 B to two members in two workers", "Membership, of 10,000 in one room"
    beside = "32 B, 10 connections beside a room of 10,000"
    found = run(
        sample(room, BASE.name, 0, 4),
        sample(room, OURS.name, 0, 6, p50_us=700, p99_us=901),
        sample(room, SOCKETIO.name, 0, 20),
        sample(alone, BASE.name, 0, 4),
        sample(alone, OURS.name, 0, 4.4),
        sample(spread, BASE.name, 0, 10),
        sample(spread, ECHO.name, 0, 20),
        sample(spread, OURS.name, 0, 90),
        sample(beside, OURS.name, 0, 7777, p50_us=66, p99_us=7777),
        sample(joined, OURS.name, 0, 288),
    )
    tables = report.tables(found).split("\n\n")
    lines = {
        (table.splitlines()[0].split("|")[1].strip(), line.split("|")[1].strip()): line
        for table in tables
        for line in table.splitlines()
    }
    times = "CPU of a delivery, times that of a bare loop"
    assert "| 1.50 |" in " ".join(lines[times, room].split())
    assert "1.10" in lines[times, alone]
    assert "4.50" in lines["CPU of a message, times mpchat's echo", spread]
    assert "700 / 901" in lines["Until the last member has it, µs, p50 / p99", room]
    assert "66 / 7777" in lines["Latency, µs, p50 / p99", beside]
    assert "288" in lines["Memory per membership, bytes", joined]
    assert ("CPU, µs", room) not in lines
    text = " ".join(page({"runs": [found]}).split())
    assert f"{spread}, times an echo" in text
    assert f"{beside}, p99 in µs" in text
    assert f"{joined}, bytes" in text


@pytest.mark.parametrize(
    ("arguments", "debian", "told"),
    [
        ("'--enable-shared'", None, "CPython 3.11.7 without PGO, GCC 12"),
        ("'--enable-optimizations' '--with-lto'", None, "CPython 3.11.7 with PGO and LTO, GCC 12"),
        ("'--enable-shared'", "Debian 12", "CPython 3.11.7 of Debian 12 with PGO and LTO, GCC 12"),
    ],
)
def test_how_an_interpreter_was_built(arguments: str, debian: str | None, told: str) -> None:
    assert environment.build("3.11.7", arguments, "GCC 12", debian) == told


def test_who_takes_part_in_which_row() -> None:
    def names(row: str) -> set[str]:
        found = next(each for each in ROWS if each.name == row)
        return {server.name for server in SERVERS if found.suits(server)}

    elsewhere = {ECHO.name, CHANNELS.name, SOCKETIO.name, "uvloop TLS", "asyncio TLS"}
    everyone = {server.name for server in SERVERS} - elsewhere - {UNTIMED.name}
    assert names(ROW) == everyone - {UPPER.name} | {UNTIMED.name}
    assert names(TEXT) == everyone
    assert names(IDLE) == everyone - {UPPER.name, INTERPRETED.name}
    without = {UPPER.name, CALLBACKS.name, "gunicorn", "granian"}
    assert names("64 KiB of JSON, compressed, 64 connections") == everyone - without
    rooms = {BASE.name, OURS.name, INTERPRETED.name, NODE.name, CHANNELS.name, SOCKETIO.name}
    assert names("64 B to 100 members") == rooms | {CALLBACKS.name, PICOWS.name, "websockets"}
    assert names("64 B to 100 members, their worker alone") == {BASE.name, OURS.name}
    assert names("32 B, 10 connections beside a room of 10,000") == {BASE.name, OURS.name}
    spread = {BASE.name, OURS.name, ECHO.name, CHANNELS.name, SOCKETIO.name}
    assert names("32 B to two members in two workers") == spread
    assert names("Membership, of 10,000 in one room") == {OURS.name}
    silent = {UPPER.name, BASE.name, "gunicorn", "granian"}
    assert names("An hour of a connection at rest, of 5,000") == everyone - silent


def test_the_form_and_the_compression_of_a_server_are_in_its_command_line() -> None:
    assert INTERPRETED.shown("plain").startswith("MPCHAT_COMPILED=0 python -m mpchat serve")
    assert UPPER.shown("plain").startswith("PYTHONPATH=loadtests/bench/peers python -m mpchat")
    uvicorn = next(server for server in SERVERS if server.name == "uvicorn")
    words = uvicorn.command_line("/usr/bin/python3", 8080, "deflate")
    assert words[0] == "/usr/bin/python3"
    assert words[-2:] == ["--ws-per-message-deflate", "true"]
    assert "8080" in words
    words = CHANNELS.command_line("/usr/bin/python3", 8080, "spread", workers=2)
    assert words[words.index("--workers") + 1] == "2"
