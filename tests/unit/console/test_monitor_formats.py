"""userver's formats of handler-server-monitor, by the rules that its clients rely on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mpchat.console.monitor_formats import Selection, selection_of, shown
from mpchat.metrics.families import Distribution, Family, Kind, Labels, Sample


def family(name: str, kind: Kind, *samples: tuple[Labels, float | Distribution]) -> Family:
    return Family(name, kind, "things", "What it is", tuple(Sample(*sample) for sample in samples))


RSS = family("rss_kb", "gauge", ((), 512))
CODES = family(
    "http.handler.reply-codes",
    "counter",
    ((("http_handler", "h"), ("http_code", "200")), 3),
    ((("http_handler", "h"), ("http_code", "500")), 1),
)
LAG = family(
    "loop.lag", "histogram", ((("worker", "w/0"),), Distribution((1, 2.5), (1, 0, 2), 9.5))
)
SENT = family("ws.msg.sent", "counter", ((("component", "chat-handler"),), 7))
ALL = (RSS, CODES, LAG, SENT)


def text(*families: Family, common: dict[str, str] | None = None, **chosen: Any) -> str:
    return shown(families, Selection("prometheus", **chosen), common or {})


def as_json(*families: Family, common: dict[str, str] | None = None, **chosen: Any) -> Any:
    return json.loads(shown(families, Selection("json", **chosen), common or {}))


def test_prometheus_has_braces_always_a_type_once_and_no_help() -> None:
    assert text(RSS, CODES) == (
        "# TYPE rss_kb gauge\n"
        "rss_kb{} 512\n"
        "# TYPE http_handler_reply_codes counter\n"
        'http_handler_reply_codes{http_handler="h",http_code="200"} 3\n'
        'http_handler_reply_codes{http_handler="h",http_code="500"} 1\n'
    )


def test_prometheus_has_cumulative_buckets_a_sum_and_a_count() -> None:
    assert text(LAG) == (
        "# TYPE loop_lag histogram\n"
        'loop_lag_bucket{worker="w/0",le="1"} 1\n'
        'loop_lag_bucket{worker="w/0",le="2.5"} 1\n'
        'loop_lag_bucket{worker="w/0",le="+Inf"} 3\n'
        'loop_lag_sum{worker="w/0"} 9.5\n'
        'loop_lag_count{worker="w/0"} 3\n'
    )


def test_names_that_prometheus_would_not_take_are_changed() -> None:
    odd = family("7.a-b", "gauge", ((("a.b", 'say "hi"'),), 0.25))
    assert text(odd) == "# TYPE _7_a_b gauge\n" + "_7_a_b{a_b=\"say 'hi'\"} 0.25\n"


def test_json_has_dotted_names_and_userver_s_types() -> None:
    found = as_json(*ALL)
    assert found["rss_kb"] == [{"value": 512, "labels": {}, "type": "GAUGE"}]
    assert found["http.handler.reply-codes"][0] == {
        "value": 3,
        "labels": {"http_handler": "h", "http_code": "200"},
        "type": "RATE",
    }
    assert found["loop.lag"] == [
        {
            "value": {"bounds": [1, 2.5], "buckets": [1, 0], "inf": 2, "sum": 9.5},
            "labels": {"worker": "w/0"},
            "type": "HIST_RATE",
        }
    ]


def test_a_component_is_in_the_name_as_userver_has_it() -> None:
    assert text(SENT) == "# TYPE ws_chat_handler_msg_sent counter\nws_chat_handler_msg_sent{} 7\n"
    assert as_json(SENT) == {
        "ws.chat-handler.msg.sent": [{"value": 7, "labels": {}, "type": "RATE"}]
    }


def test_common_labels_come_first() -> None:
    assert 'http_code{zone="a",' not in text(CODES, common={"zone": "a"})
    assert 'reply_codes{zone="a",http_handler="h",http_code="200"} 3' in text(
        CODES, common={"zone": "a"}
    )
    assert as_json(RSS, common={"zone": "a"})["rss_kb"][0]["labels"] == {"zone": "a"}


def test_prefix_is_the_beginning_of_a_name_and_path_a_whole_one() -> None:
    assert list(as_json(*ALL, prefix="http.handler")) == ["http.handler.reply-codes"]
    assert list(as_json(*ALL, prefix="ws.chat-handler.msg")) == ["ws.chat-handler.msg.sent"]
    assert list(as_json(*ALL, path="rss_kb")) == ["rss_kb"]
    assert as_json(*ALL, path="rss") == {}


def test_labels_are_a_part_of_what_a_value_has() -> None:
    found = as_json(*ALL, labels={"http_code": "500"})
    assert {name: [one["value"] for one in values] for name, values in found.items()} == {
        "http.handler.reply-codes": [1]
    }
    assert as_json(*ALL, labels={"http_code": "500", "other": "x"}) == {}


def test_a_request_may_leave_out_all_but_a_format() -> None:
    assert selection_of({}, "json") == Selection("json")
    assert selection_of({"format": "prometheus"}, "json") == Selection("prometheus")
    query = {"format": "json", "prefix": "a", "path": "a", "labels": '{"b": "c"}'}
    assert selection_of(query, None) == Selection("json", "a", "a", {"b": "c"})


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "no format: .* prometheus and json"),
        ({"format": "solomon"}, "no format is called solomon: there are prometheus and json"),
        ({"format": "json", "prefix": "a", "path": "ab"}, "prefix and path differ"),
        ({"format": "json", "labels": "{"}, "labels is no JSON"),
        ({"format": "json", "labels": "[]"}, "labels is no JSON object of strings"),
        ({"format": "json", "labels": '{"a": 1}'}, "labels is no JSON object of strings"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_words(query: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        selection_of(query, None)
