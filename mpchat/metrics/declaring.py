"""How authors declare metrics: as attributes of a component's class.

Rules. A declaration belongs to the class and never changes. What is counted belongs to an object of the
class, in which the base's constructor puts a metric in place of each declaration. Nothing is checked
where a metric is declared: the template finds the mistakes, and names class and line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Self, TypeVar, overload

from mpchat.metrics.area import Area
from mpchat.metrics.families import Kind
from mpchat.metrics.metric import Counter, Gauge, Histogram, Metric

M = TypeVar("M", bound=Metric)


class Declaration(Generic[M]):
    """A metric that objects of a class have.

    Attributes:
        given: All about it as the author has given it, in the form of a directory's entry.
    """

    def __init__(self, metric: type[M], kind: Kind, **given: Any) -> None:
        self.given: dict[str, Any] = {"kind": kind, **given}
        self._metric = metric

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> M: ...
    def __get__(self, instance: object | None, owner: type) -> Self | M:
        if instance is None:
            return self
        # An attribute of the object goes before this one, once there is one.
        raise AttributeError(
            f"{owner.__name__} has no metrics: it is no component, or the base's constructor has not run"
        )

    def bind(self, area: Area) -> M:
        """Return the metric with its values in an area."""
        return self._metric(area, self.given["name"])


def counter(
    name: str, help: str, *, unit: str = "", labels: Mapping[str, Sequence[str]] | None = None
) -> Declaration[Counter]:
    """Declare a total: ``orders = metrics.counter("orders", "Orders taken")`` in the class's body.

    ``help`` tells operators what is counted. ``labels`` have all values that they may ever have:
    ``{"kind": ("buy", "sell")}``. The name may have dots, and its unit at the end; in Prometheus's format
    every character but letters and digits is an underscore.
    """
    return Declaration(
        Counter, "counter", name=name, help=help, unit=unit, labels=_labels(labels), bounds=()
    )


def gauge(
    name: str, help: str, *, unit: str = "", labels: Mapping[str, Sequence[str]] | None = None
) -> Declaration[Gauge]:
    """Declare a number that rises and falls; arguments as for ``counter``."""
    return Declaration(
        Gauge, "gauge", name=name, help=help, unit=unit, labels=_labels(labels), bounds=()
    )


def histogram(
    name: str,
    help: str,
    *,
    bounds: Sequence[float],
    unit: str = "",
    labels: Mapping[str, Sequence[str]] | None = None,
) -> Declaration[Histogram]:
    """Declare a histogram; ``bounds`` are the upper bounds of its buckets, rising, each included.

    Other arguments as for ``counter``.
    """
    return Declaration(
        Histogram,
        "histogram",
        name=name,
        help=help,
        unit=unit,
        labels=_labels(labels),
        bounds=bounds,
    )


def _labels(given: Mapping[str, Sequence[str]] | None) -> Mapping[str, Sequence[str]]:
    return {} if given is None else given


def declarations_of(cls: type) -> dict[str, Declaration[Any]]:
    """Return the declarations that a class has or inherits, by attribute."""
    found: dict[str, Declaration[Any]] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            if isinstance(value, Declaration):
                found[attribute] = value
            else:
                found.pop(attribute, None)
    return found


def bind_metrics(instance: object, area: Area) -> None:
    """Put a metric in place of each declaration of an object's class."""
    for attribute, declaration in declarations_of(type(instance)).items():
        vars(instance)[attribute] = declaration.bind(area)
