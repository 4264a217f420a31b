"""The numbers of the broker: what each is, in the order of its items.

Rules. The first of ``STATE`` and ``restarts`` are the supervisor's, the others the broker's own. A new
broker continues the counters of earlier ones, so they never fall; its gauges begin at 0. What ``NUMBERS``
has is published as a metric under its name.
"""

from __future__ import annotations

from mpchat.scoreboard.counters import Metric

ENGINES = ("host", "nats")
"""What orders the rooms, by number"""
BROKER_STATES = ("none", "down", "starting", "ready")
"""Meaning of the broker's state, by number; ``none``: the service has no rooms."""
STATE = (
    "pid",
    "state",  # see BROKER_STATES
    "since",  # when it was asked for
    "heartbeat",  # beats of its loop
    "beat_at",  # time of the last beat
    "engine",  # see ENGINES
    "stream_lost_at",  # since when the stream does not answer; 0: it does, or there is none
)


def _total(name: str, unit: str, text: str) -> Metric:
    return Metric(name, "counter", unit, text)


def _gauge(name: str, unit: str, text: str) -> Metric:
    return Metric(name, "gauge", unit, text)


NUMBERS = (
    _total("restarts", "processes", "Brokers started after the first"),
    _gauge("rooms", "rooms", "Rooms that it knows"),
    _gauge("members", "members", "Memberships in all rooms"),
    _total("messages", "messages", "Messages that brokers of this service have numbered"),
    _gauge("history_used", "bytes", "Bytes of the history that hold messages"),
    _gauge("history_size", "bytes", "Bytes of the history, 0 without one"),
    _gauge("behind", "workers", "Workers that have not taken all messages yet"),
    _total(
        "repeated", "publishes", "Publishes that came again, answered with their first position"
    ),
    _total(
        "refused", "publishes", "Publishes that were refused: too large, a closed room, too many"
    ),
    _total("delivered", "messages", "Messages sent to workers, once for each"),
    _total(
        "lost", "workers", "How often a worker was so far behind that messages had to be skipped"
    ),
    _total("dropped", "workers", "Workers cut off because of what they said: each is a bug"),
    _total("reconnects", "connections", "How often the connection to NATS came back"),
    _total("filled", "messages", "Messages that came late from NATS, and had to be asked for"),
    _total("replayed", "messages", "Messages that came from NATS more than once"),
    _total(
        "foreign", "messages", "Messages in the rooms' stream of NATS that no broker has published"
    ),
    _total("retries", "publishes", "Publishes sent to NATS once more, for want of an answer"),
    _total("stream_lost_ms", "milliseconds", "Time in which the stream of NATS did not answer"),
)
SUPERVISORS = ("pid", "state", "since", "restarts")
COUNTERS = tuple(metric.name for metric in NUMBERS if metric.kind == "counter")
NAMES = (*STATE, *(metric.name for metric in NUMBERS))
