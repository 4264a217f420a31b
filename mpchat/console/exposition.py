"""Metrics for Prometheus, by its own library: its text format, or OpenMetrics if that is asked for.

Rules. A name has ``_`` in place of dots and dashes. A counter ends in ``_total``. The unit is told to who
asks for OpenMetrics where the name ends with it, as the format wants it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mpchat.metrics.definition import prometheus_name
from mpchat.metrics.families import Distribution, Family, Sample

_UNITS = frozenset({"seconds", "bytes"})


def exposition(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """Return the body of an answer and its Content-Type; ``accept`` is the request's header Accept."""
    encode, content_type = choose_encoder(accept)
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
    labels = [label for label, _value in family.samples[0].labels] if family.samples else []
    match family.kind:
        case "counter":
            counter = CounterMetricFamily(name, family.help, labels=labels, unit=unit)
            for sample in family.samples:
                counter.add_metric(_values(sample), _number(sample))
            return counter
        case "gauge":
            gauge = GaugeMetricFamily(name, family.help, labels=labels, unit=unit)
            for sample in family.samples:
                gauge.add_metric(_values(sample), _number(sample))
            return gauge
        case "histogram":
            histogram = HistogramMetricFamily(name, family.help, labels=labels, unit=unit)
            for sample in family.samples:
                assert isinstance(sample.value, Distribution)
                buckets = list(_buckets(sample.value))
                histogram.add_metric(_values(sample), buckets, sample.value.sum)
            return histogram


def _values(sample: Sample) -> list[str]:
    return [value for _label, value in sample.labels]


def _number(sample: Sample) -> float:
    assert not isinstance(sample.value, Distribution)
    return sample.value


def _buckets(distribution: Distribution) -> Iterator[tuple[str, float]]:
    """Return bounds and cumulative counts."""
    total = 0
    bounds = (*(repr(float(bound)) for bound in distribution.bounds), "+Inf")
    for bound, count in zip(bounds, distribution.counts, strict=True):
        total += count
        yield bound, total
