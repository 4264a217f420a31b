"""Metrics for Prometheus, by its own library: its text format, or OpenMetrics if that is asked for.

Rules. A name has ``_`` in place of dots and dashes. A counter ends in ``_total``. The unit is told to who
asks for OpenMetrics where the name ends with it, as the format wants it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import ALLOWUTF8, UNDERSCORES
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample as Line

from mpchat.metrics.definition import prometheus_name
from mpchat.metrics.families import Distribution, Family

_UNITS = frozenset({"seconds", "bytes"})


def exposition(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """Return the body of an answer and its Content-Type; ``accept`` is the request's header Accept."""
    encode, content_type = choose_encoder(accept)
    if isinstance(encode, partial) and encode.keywords.get("escaping") == UNDERSCORES:
        # Every name here is one that neither scheme changes, and this one does not look at each letter.
        encode = partial(encode, escaping=ALLOWUTF8)
    return encode(_Families(families)), content_type


class _Families(Collector):
    """Families, as the library's encoders take them."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return (_metric_of(family) for family in self._families)


def _metric_of(family: Family) -> Metric:
    name = prometheus_name(family.name)
    unit = family.unit if family.unit in _UNITS and name.endswith(f"_{family.unit}") else ""
    metric: Metric
    match family.kind:
        case "counter":
            metric = CounterMetricFamily(name, family.help, unit=unit)
            metric.samples = _lines(f"{metric.name}_total", family)
        case "gauge":
            metric = GaugeMetricFamily(name, family.help, unit=unit)
            metric.samples = _lines(name, family)
        case "histogram":
            labels = [label for label, _value in family.samples[0].labels] if family.samples else []
            metric = histogram = HistogramMetricFamily(name, family.help, labels=labels, unit=unit)
            for sample in family.samples:
                assert isinstance(sample.value, Distribution)
                values = [value for _label, value in sample.labels]
                histogram.add_metric(values, list(_buckets(sample.value)), sample.value.sum)
    return metric


def _lines(name: str, family: Family) -> list[Line]:
    """Return what ``add_metric`` would make, at once: of 64 workers there are thousands."""
    return [Line(name, dict(labels), _number(value)) for labels, value in family.samples]


def _number(value: float | Distribution) -> float:
    assert not isinstance(value, Distribution)
    return value


def _buckets(distribution: Distribution) -> Iterator[tuple[str, float]]:
    """Return bounds and cumulative counts."""
    total = 0
    bounds = (*(repr(float(bound)) for bound in distribution.bounds), "+Inf")
    for bound, count in zip(bounds, distribution.counts, strict=True):
        total += count
        yield bound, total
