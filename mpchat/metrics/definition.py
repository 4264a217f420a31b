"""What a metric means, before it has values.

Rules. Names and labels as in ``families``. What is defined once is documented, collected and tested from
here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mpchat.metrics.families import Distribution, Family, Kind, Labels, Sample


def prometheus_name(name: str) -> str:
    """Return a metric's name as Prometheus has it, without what its format adds to some kinds."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


@dataclass(frozen=True)
class Definition:
    """A metric."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    """Names of its labels, in order"""

    @property
    def in_prometheus(self) -> str:
        """Its name at ``/metrics``; a histogram's is followed by ``_bucket``, ``_sum``, ``_count``."""
        name = prometheus_name(self.name)
        return f"{name.removesuffix('_total')}_total" if self.kind == "counter" else name

    def family(self, values: Iterable[tuple[tuple[str, ...], float | Distribution]]) -> Family:
        """Return the metric with values: each with those of its labels, in their order."""
        samples = tuple(
            Sample(tuple(zip(self.labels, labels, strict=True)), value) for labels, value in values
        )
        return Family(self.name, self.kind, self.unit, self.help, samples)

    def of_each(self, labels: Iterable[Labels], values: Iterable[float]) -> Family:
        """Return the metric with a value for each of some labels, which many metrics have in common."""
        samples = tuple(Sample(*pair) for pair in zip(labels, values, strict=True))
        return Family(self.name, self.kind, self.unit, self.help, samples)

    def single(self, value: float) -> Family:
        """Return a metric without labels, with its value."""
        return self.family((((), value),))
