"""Metrics as userver's handler-server-monitor shows them: its formats ``prometheus`` and ``json``.

Rules. As in userver: names and labels with ``_`` for all that is no letter or digit, no help, no
``_total``, braces always, common labels first; in JSON the dotted names. Where userver has the name of a
component in that of a metric, ours has a label, which moves into the name here. ``path`` is a whole
name, ``prefix`` the beginning of one, ``labels`` what a value must have among its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mpchat.metrics.families import Distribution, Family, Kind, Labels, Sample

FORMATS = ("prometheus", "json")
CONTENT_TYPES = {
    "prometheus": "text/plain; charset=utf-8",
    "json": "application/json; charset=utf-8",
}
"""Of each format"""
_TYPES: dict[Kind, str] = {"gauge": "GAUGE", "counter": "RATE", "histogram": "HIST_RATE"}
_BY_COMPONENT = re.compile(r"^ws\.")
_COMPONENT = "component"


@dataclass(frozen=True)
class Selection:
    """What is asked for."""

    format: str
    prefix: str = ""
    path: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def selection_of(query: Mapping[str, str], default_format: str | None) -> Selection:
    """Return what a request asks for; ``query`` has its parameters, ``default_format`` is the option.

    Raises:
        ValueError: It asks for what there is not. The text is for its answer, 400.
    """
    chosen = query.get("format") or default_format
    known = " and ".join(FORMATS)
    if not chosen:
        raise ValueError(f"no format: give the parameter format, of which there are {known}")
    if chosen not in FORMATS:
        raise ValueError(f"no format is called {chosen}: there are {known}")
    prefix, path = query.get("prefix", ""), query.get("path", "")
    if prefix and path and prefix != path:
        raise ValueError("prefix and path differ: give one of them")
    return Selection(chosen, prefix, path, _labels_of(query.get("labels", "")))


def shown(
    families: Iterable[Family], selection: Selection, common_labels: Mapping[str, str]
) -> str:
    """Return the selected metrics as text; ``common_labels`` are added to each value."""
    found = _selected(_as_userver(families), selection)
    common = tuple(common_labels.items())
    if selection.format == "json":
        return json.dumps(_as_json(found, common))
    return "".join(_as_prometheus(found, common))


def _labels_of(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"labels is no JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise ValueError('labels is no JSON object of strings, such as {"http_code": "200"}')
    return found


def _as_userver(families: Iterable[Family]) -> Iterator[Family]:
    for family in families:
        if _BY_COMPONENT.match(family.name):
            yield from _by_component(family)
        else:
            yield family


def _by_component(family: Family) -> Iterator[Family]:
    for sample in family.samples:
        labels = dict(sample.labels)
        component = labels.pop(_COMPONENT)
        name = _BY_COMPONENT.sub(f"ws.{component}.", family.name)
        yield replace(family, name=name, samples=(Sample(tuple(labels.items()), sample.value),))


def _selected(families: Iterable[Family], selection: Selection) -> Iterator[Family]:
    wanted = selection.labels.items()
    for family in families:
        if not family.name.startswith(selection.prefix):
            continue
        if selection.path and family.name != selection.path:
            continue
        samples = tuple(
            sample for sample in family.samples if wanted <= dict(sample.labels).items()
        )
        if samples:
            yield replace(family, samples=samples)


def _as_json(families: Iterable[Family], common: Labels) -> dict[str, Any]:
    return {
        family.name: [
            {
                "value": _json_value(sample.value),
                "labels": dict((*common, *sample.labels)),
                "type": _TYPES[family.kind],
            }
            for sample in family.samples
        ]
        for family in families
    }


def _json_value(value: float | Distribution) -> Any:
    if not isinstance(value, Distribution):
        return value
    *buckets, beyond = value.counts
    return {"bounds": list(value.bounds), "buckets": buckets, "inf": beyond, "sum": value.sum}


def _as_prometheus(families: Iterable[Family], common: Labels) -> Iterator[str]:
    for family in families:
        name = _name_of(family.name)
        yield f"# TYPE {name} {family.kind}\n"
        for sample in family.samples:
            labels = _inside((*common, *sample.labels))
            if isinstance(sample.value, Distribution):
                yield from _histogram(name, labels, sample.value)
            else:
                yield f"{name}{{{labels}}} {_text(sample.value)}\n"


def _histogram(name: str, labels: str, value: Distribution) -> Iterator[str]:
    comma = "," if labels else ""
    total = 0
    for bound, count in zip((*value.bounds, None), value.counts, strict=True):
        total += count
        most = "+Inf" if bound is None else _text(bound)
        yield f'{name}_bucket{{{labels}{comma}le="{most}"}} {total}\n'
    yield f"{name}_sum{{{labels}}} {_text(value.sum)}\n"
    yield f"{name}_count{{{labels}}} {total}\n"


def _name_of(name: str) -> str:
    found = re.sub(r"[^a-zA-Z0-9]", "_", name)
    return found if found[:1].isalpha() else f"_{found}"


def _inside(labels: Labels) -> str:
    """Return what stands between the braces."""
    pairs = ((_name_of(name), value.replace('"', "'")) for name, value in labels)
    return ",".join(f'{name}="{value}"' for name, value in pairs)


def _text(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
