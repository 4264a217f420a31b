"""Metrics: what a number means, and its values at one moment.

For authors: ``from mpchat import metrics`` has what declares metrics, and the types of what counts.
"""

from mpchat.metrics.declaring import counter, gauge, histogram
from mpchat.metrics.families import Distribution
from mpchat.metrics.metric import Counter, Gauge, Histogram

__all__ = ["Counter", "Distribution", "Gauge", "Histogram", "counter", "gauge", "histogram"]
