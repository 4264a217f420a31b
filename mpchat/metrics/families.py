"""Numbers of one moment, with what they mean, before they have a format.

Rules. A name is dotted, as userver's are, and ends with its unit where userver's does. Labels have their
values in the order of the family's label names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values"""


@dataclass(frozen=True)
class Distribution:
    """The value of a histogram."""

    bounds: tuple[float, ...]
    """Upper bounds of the buckets, each included in its bucket, rising; what is above the last is counted
    in one bucket more"""
    counts: tuple[int, ...]
    """Of each bucket by itself, one more than there are bounds"""
    sum: float
    """Of all values"""


class Sample(NamedTuple):
    """One value of a family; of 64 workers there are thousands, so making one is cheap."""

    labels: Labels
    value: float | Distribution


@dataclass(frozen=True)
class Family:
    """All values of one metric."""

    name: str
    kind: Kind
    unit: str
    """What is counted, in the plural, or a unit of measure: seconds, bytes"""
    help: str
    """Its meaning, for operators: one sentence"""
    samples: tuple[Sample, ...]
