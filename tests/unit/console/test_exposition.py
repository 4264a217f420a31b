"""Metrics for Prometheus, read back by its own parsers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from mpchat.console.exposition import exposition
from mpchat.metrics.definition import prometheus_name
from mpchat.metrics.families import Distribution, Family, Sample
from tests.unit.console.rig import filled

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SIZES = Distribution((1.0, 10.0), (1, 2, 3), 77.5)


def read_back(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def read_strictly_back(text: str) -> list[Metric]:
    return list(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def text_of(family: Family, accept: str = "") -> str:
    body, _content_type = exposition([family], accept)
    return body.decode()


def test_the_format_is_what_is_asked_for() -> None:
    assert exposition([], "")[1].startswith("text/plain; version=")
    assert exposition([], OPENMETRICS)[1].startswith("application/openmetrics-text")
    assert exposition([], "text/html, */*;q=0.1")[1].startswith("text/plain; version=")


@pytest.mark.parametrize("accept", ["", OPENMETRICS, f"{OPENMETRICS}; escaping=allow-utf-8"])
def test_no_name_is_left_to_be_escaped(accept: str) -> None:
    family = Family("odd.näme-kb", "gauge", "kilobytes", "Odd", (Sample((("of", "ä"),), 7),))
    assert 'odd_n_me_kb{of="ä"} 7.0\n' in text_of(family, accept)


def test_names_are_escaped_as_a_client_asks() -> None:
    family = Family("rss_kb", "gauge", "kilobytes", "Memory", (Sample((), 7),))
    accept = f"{OPENMETRICS}; escaping=dots"
    assert exposition([family], accept)[1].endswith("escaping=dots")
    assert "rss__kb 7.0\n" in text_of(family, accept)


def test_a_counter_ends_in_total_and_has_its_help_and_type() -> None:
    family = Family("ws.msg.sent", "counter", "messages", "Messages sent", (Sample((), 7),))
    assert text_of(family) == (
        "# HELP ws_msg_sent_total Messages sent\n"
        "# TYPE ws_msg_sent_total counter\n"
        "ws_msg_sent_total 7.0\n"
    )


def test_openmetrics_has_the_unit_that_ends_the_name() -> None:
    family = Family(
        "engine.uptime-seconds", "gauge", "seconds", "Since the start", (Sample((), 1.5),)
    )
    text = text_of(family, OPENMETRICS)
    assert "# UNIT engine_uptime_seconds seconds\n" in text
    assert "engine_uptime_seconds 1.5\n" in text
    other = Family("rss_kb", "gauge", "kilobytes", "Memory", (Sample((), 512),))
    assert "UNIT" not in text_of(other, OPENMETRICS)
    assert "rss_kb 512.0\n" in text_of(other, OPENMETRICS)


def test_a_histogram_has_cumulative_buckets_a_sum_and_a_count() -> None:
    family = Family("size.bytes", "histogram", "bytes", "Sizes", (Sample((("of", "a"),), SIZES),))
    assert text_of(family).splitlines()[2:] == [
        'size_bytes_bucket{le="1.0",of="a"} 1.0',
        'size_bytes_bucket{le="10.0",of="a"} 3.0',
        'size_bytes_bucket{le="+Inf",of="a"} 6.0',
        'size_bytes_count{of="a"} 6.0',
        'size_bytes_sum{of="a"} 77.5',
    ]


def test_what_a_service_has_is_understood_in_both_formats() -> None:
    with filled(3) as slots:
        families = slots.collector.collect()
    text, _type = exposition(families, "")
    plain = {one.name: one for one in read_back(text.decode())}
    text, _type = exposition(families, OPENMETRICS)
    strict = read_strictly_back(text.decode())
    for parsed in (plain, {one.name: one for one in strict}):
        for family in families:
            found = parsed[prometheus_name(family.name).removesuffix("_total")]
            assert (found.type, found.documentation) == (family.kind, family.help)
            assert len(found.samples) == sum(map(_lines, family.samples))


def _lines(sample: Sample) -> int:
    """Return the lines of a sample: a histogram has one for each bucket, its sum and its count."""
    return len(sample.value.counts) + 2 if isinstance(sample.value, Distribution) else 1


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)


@given(TEXTS, st.floats(allow_nan=False))
def test_any_label_and_any_number_come_back(label: str, value: float) -> None:
    family = Family("any", "gauge", "things", "Anything", (Sample((("label", label),), value),))
    (found,) = read_back(text_of(family))
    (sample,) = found.samples
    assert sample.labels == {"label": label}
    assert sample.value == value or math.isclose(sample.value, value)
