"""Medians, pairs, tables and the plot, from samples made up by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bench import report
from bench.plot import PANELS, plot
from bench.report import OURS, UPPER, Results
from bench.rows import EACH_READY, ROWS
from bench.servers import BASE, SERVERS

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


def document(*samples: dict[str, Any], **more: Any) -> report.Document:
    return {
        "date": "2030-01-02",
        "machine": "Z80 <fast> & old",
        "versions": {"Python": "3.99", "mpchat": "7.8.9"},
        "upper_us": {},
        "samples": list(samples),
        **more,
    }


def rounds(row: str, server: str, *values: float) -> list[dict[str, Any]]:
    return [sample(row, server, number, value) for number, value in enumerate(values)]


def test_the_median_of_the_rounds() -> None:
    results = Results(document(*rounds(ROW, "mpchat", 9, 1, 2)))
    assert results.median(ROW, OURS) == 2
    assert results.median(ROW, BASE) is None


def test_ratios_are_taken_within_a_round() -> None:
    # The second round was three times slower for both: the ratio of the medians would be 1.5.
    base = rounds(ROW, BASE.name, 10, 30, 20)
    ours = rounds(ROW, "mpchat", 20, 60, 30)
    results = Results(document(*base, *ours))
    assert results.ratio(ROW, OURS) == 2
    assert results.ratio(ROW, BASE) == 1
    assert results.ratio(ROW, PICOWS) is None


def test_a_round_without_its_pair_does_not_count() -> None:
    samples = [sample(ROW, BASE.name, 0, 10), sample(ROW, "mpchat", 0, 20)]
    results = Results(document(*samples, sample(ROW, "mpchat", 1, 1000)))
    assert results.ratio(ROW, OURS) == 2


def test_what_an_outside_handler_costs_beyond_upper() -> None:
    echo = rounds(TEXT, OURS.name, 10, 20, 10)
    upper = rounds(TEXT, UPPER.name, 13, 24, 13)
    text = report.tables(document(*echo, *upper, upper_us={TEXT: 2.0}))
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
    assert Results(document(*samples)).ahead(row) == {CALLBACKS: 0.8, PICOWS: 0.9}
    last = report.page(document(*samples)).splitlines()[-1]
    assert last == f"- {ROW}: picows callbacks 0.80, picows.websockets 0.90"
    assert "Nowhere in this run." in report.page(document(*samples[:2]))


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
    page = report.page(
        document(
            *rounds(ROW, BASE.name, 10),
            *rounds(ROW, "mpchat", 25),
            *rounds(IDLE, "mpchat", 6.5),
            sample("32 B, 1 connection", "mpchat", 0, 30, p50_us=51.2, p99_us=99.6),
            sample(EACH_READY, "mpchat", 0, 15.5),
        )
    )
    for text in (
        "2030-01-02",
        "Z80",
        "Python 3.99",
        "mpchat 7.8.9",
        "2.50",
        "6.50",
        "51 / 100",
        "15.5",
    ):
        assert text in page
    assert "granian" not in page


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
    hint = "cd loadtests && ../.venv/bin/python -m bench --again ../docs/benchmark.json --write ../docs"
    assert (DOCS / "benchmark.md").read_text() == report.page(measured), hint
    assert (DOCS / "benchmark.svg").read_text() == plot(measured), hint


def test_the_panels_are_rows() -> None:
    assert set(PANELS) <= {row.name for row in ROWS}


def test_a_flood_is_told_as_latency_and_not_as_cost() -> None:
    row = "32 B, 100 connections beside one that floods"
    tables = report.tables(document(sample(row, "mpchat", 0, 2200, p50_us=1100, p99_us=2200)))
    assert "Latency" in tables
    assert "1100 / 2200" in tables
    assert "CPU" not in tables
