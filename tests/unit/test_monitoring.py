"""Alerts and dashboard: each metric that they name exists, with the labels that they ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from mpchat.console.catalogue import CATALOGUE
from mpchat.metrics.definition import prometheus_name
from mpchat.metrics.directory import RESERVED

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds; ``up`` is its own metric"""

_STRING = re.compile(r'"[^"]*"')
_WORDS = {"by", "on", "ignoring", "without", "group_left", "group_right", "and", "or", "unless"}
_GROUPS = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


class Use(NamedTuple):
    """A metric in an expression, and the labels that are asked of it or grouped by."""

    where: str
    name: str
    labels: frozenset[str]


def uses(where: str, expression: str) -> Iterator[Use]:
    text = _STRING.sub("", expression).replace("$__rate_interval", "1m")
    grouped = {
        label.strip() for found in _GROUPS.findall(text) for label in found.split(",") if label
    }
    text = re.sub(r"\[[^\]]*\]", "", _GROUPS.sub(" ", text))
    for name, matchers in re.findall(r"([a-zA-Z_][a-zA-Z0-9_]*)(?:\{([^}]*)\})?", text):
        if re.search(rf"\b{name}\s*\(", text) or name in _WORDS:
            continue
        labels = re.findall(r"([a-zA-Z_]\w*)\s*(?:=|!)", matchers)
        yield Use(where, name, frozenset(labels) | grouped)


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def expressions() -> Iterator[tuple[str, str]]:
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield (
                f"variable {variable['name']}",
                variable["query"]["query"].removeprefix("label_values(").partition(",")[0],
            )


USES = [use for where, expression in expressions() for use in uses(where, expression)]
KNOWN = {"up": SCRAPED}
for one in CATALOGUE:
    labels = SCRAPED | {*one.labels}
    if one.kind == "histogram":
        KNOWN[f"{one.in_prometheus}_bucket"] = labels | {"le"}
        KNOWN[f"{one.in_prometheus}_sum"] = KNOWN[f"{one.in_prometheus}_count"] = labels
    else:
        KNOWN[one.in_prometheus] = labels


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.where}: {use.name}")
def test_every_metric_that_is_named_exists_and_has_its_labels(use: Use) -> None:
    assert use.name in KNOWN
    assert use.labels - KNOWN[use.name] == set()


def test_expressions_are_taken_apart() -> None:
    found = [
        *uses("x", 'sum by (process, job) (rate(open_files{job="a", process!="b"}[5m])) > 0.5 * up')
    ]
    labels = frozenset({"process", "job"})
    assert found == [Use("x", "open_files", labels), Use("x", "up", labels)]
    assert len(USES) > 40


def test_every_alert_says_how_bad_it_is_and_what_to_look_at() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert {*rule["annotations"]} == {"summary", "description"}
        assert "$labels.instance" in rule["annotations"]["summary"]
        # It names no label that the expression's result does not have.
        shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        known = set().union(*(KNOWN[use.name] for use in uses("x", rule["expr"])))
        assert shown <= known, rule["alert"]


def test_panels_lie_beside_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, panel["title"]
        assert all(x < 24 for x, _y in own)
        cells |= own
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_no_author_can_take_the_name_of_a_metric_of_the_service() -> None:
    names = [prometheus_name(one.name) for one in CATALOGUE]
    assert [name for name in names if not name.startswith(RESERVED)] == []
