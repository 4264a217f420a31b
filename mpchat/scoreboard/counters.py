"""The numbers that a service publishes: one table of name, kind, unit and meaning.

Rules. A counter is added here and counted where it happens; the scoreboard, ``mpchat status``, the
console and the pages of docs take it from the table. One that changes with every message has its field
in ``traffic``, of which each handler has its own. Counters only grow; gauges rise and fall, and end with
their worker. The order of the table is the order of the items in a scoreboard row.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

from mpchat.scoreboard.histograms import Histograms
from mpchat.scoreboard.traffic import Traffic

Kind: TypeAlias = Literal["counter", "gauge"]


@dataclass(frozen=True)
class Metric:
    """A published number."""

    name: str
    kind: Kind
    unit: str
    """What is counted, in the plural"""
    help: str
    """Its meaning, for operators"""


def _count(kind: Kind, unit: str, text: str) -> Any:
    return field(default=0, metadata={"kind": kind, "unit": unit, "help": text})


def _total(unit: str, text: str) -> Any:
    return _count("counter", unit, text)


def _gauge(unit: str, text: str) -> Any:
    return _count("gauge", unit, text)


@dataclass(slots=True)
class Counters:
    """The numbers of one worker process: plain integers, changed only by the thread of its loop.

    Attributes:
        histograms: What is distributed; by default nobody reads it.
        traffic: Messages and bytes of each handler, by name.
    """

    accepted: int = _total("sockets", "Sockets taken from a listening socket")
    passed_on: int = _total("sockets", "Accepted sockets that were passed on to a slot with fewer")
    refused: int = _total(
        "sockets", "Sockets, handshakes, requests refused because of a limit or a stop"
    )
    requests: int = _total("requests", "Plain HTTP requests answered")
    handshakes: int = _total("connections", "WebSocket connections opened")
    closed: int = _total("connections", "WebSocket connections ended, in whatever way")
    left: int = _total("sockets", "Sockets of clients that are closed, whoever closed them")
    proxied: int = _total("sockets", "Sockets whose PROXY header was taken")
    tls_handshakes: int = _total("handshakes", "TLS handshakes completed")
    tls_resumed: int = _total("handshakes", "TLS handshakes that resumed a session")
    tls_not_tls: int = _total("sockets", "Sockets whose client did not speak TLS")
    tls_no_common_offer: int = _total(
        "handshakes", "TLS handshakes that failed: no version or cipher in common"
    )
    tls_bad_certificates: int = _total(
        "handshakes", "TLS handshakes that failed: no client certificate, or not a valid one"
    )
    tls_alerts: int = _total(
        "handshakes", "TLS handshakes that the client has refused, as it does with an unknown CA"
    )
    tls_left: int = _total("handshakes", "TLS handshakes whose client left or was too slow")
    tls_other_failures: int = _total("handshakes", "TLS handshakes that failed otherwise")
    tls_broken: int = _total("connections", "Open TLS connections with a record that was not valid")
    tls_truncated: int = _total(
        "connections", "TLS connections that their client ended without a close_notify"
    )
    log_lines_trace: int = _total("lines", "Lines for the log of the level trace")
    log_lines_debug: int = _total("lines", "Lines for the log of the level debug")
    log_lines_info: int = _total("lines", "Lines for the log of the level info")
    log_lines_warning: int = _total("lines", "Lines for the log of the level warning")
    log_lines_error: int = _total("lines", "Lines for the log of the level error")
    log_lines_critical: int = _total("lines", "Lines for the log of the level critical")
    log_lines_dropped: int = _total("lines", "Lines that the log did not take")
    congestion_no_limit: int = _total(
        "seconds", "Seconds that congestion control has seen: no limit, no pressure"
    )
    congestion_not_overloaded_no_pressure: int = _total(
        "seconds", "Seconds without overload or pressure, with a limit that was left"
    )
    congestion_not_overloaded_under_pressure: int = _total(
        "seconds", "Seconds of pressure that were no overload yet"
    )
    congestion_overloaded_no_pressure: int = _total(
        "seconds", "Seconds of an overload in which the limit was enough"
    )
    congestion_overloaded_under_pressure: int = _total(
        "seconds", "Seconds of an overload in which the limit was set or fell"
    )
    sockets: int = _gauge("sockets", "Open sockets of clients")
    waiting: int = _gauge("sockets", "Open sockets that are not WebSockets, or not yet")
    connections: int = _gauge("connections", "Open WebSocket connections")
    parsing: int = _gauge("requests", "Requests of which a part has come")
    answering: int = _gauge("requests", "Requests and handshakes that a handler is answering")
    tls_handshaking: int = _gauge("handshakes", "TLS handshakes that have begun")
    histograms: Histograms = field(default_factory=Histograms.apart)
    traffic: dict[str, Traffic] = field(default_factory=dict)

    def traffic_of(self, handler: str) -> Traffic:
        """Return where the messages of a handler are counted."""
        found = self.traffic.get(handler)
        if found is None:
            found = self.traffic[handler] = Traffic(self.histograms.size)
        return found

    @property
    def messages_received(self) -> int:
        """Of all handlers, as the next three."""
        return sum(traffic.messages_received for traffic in self.traffic.values())

    @property
    def messages_sent(self) -> int:
        return sum(traffic.messages_sent for traffic in self.traffic.values())

    @property
    def bytes_received(self) -> int:
        return sum(traffic.bytes_received for traffic in self.traffic.values())

    @property
    def bytes_sent(self) -> int:
        return sum(traffic.bytes_sent for traffic in self.traffic.values())


def _limit(name: str, unit: str, text: str) -> Metric:
    return Metric(name, "counter", unit, text)


_TRAFFIC = (
    Metric("messages_received", "counter", "messages", "Messages received from clients"),
    Metric("messages_sent", "counter", "messages", "Messages sent to clients"),
    Metric("bytes_received", "counter", "bytes", "Payload bytes of the messages received"),
    Metric("bytes_sent", "counter", "bytes", "Payload bytes of the messages sent"),
)
_COUNTED = tuple(
    Metric(item.name, item.metadata["kind"], item.metadata["unit"], item.metadata["help"])
    for item in fields(Counters)
    if item.metadata
)
_LIMITED = (
    _limit("listener.max_connections", "sockets", "Sockets accepted only to be answered 503"),
    _limit(
        "listener.max_connections_per_worker", "sockets", "Sockets accepted only to be answered 503"
    ),
    _limit("listener.max_handshakes", "sockets", "Sockets accepted only to be answered 503"),
    _limit(
        "listener.proxy-protocol",
        "sockets",
        "Sockets closed: no valid PROXY header within 3 s, not a trusted proxy, or more than 1024 in a "
        "worker without their header",
    ),
    _limit(
        "listener.tls.handshakes",
        "handshakes",
        "TLS handshakes cut off: 1024 had begun in their worker, and they had waited longest for their "
        "client",
    ),
    _limit("MPCHAT_LIMITS.max_connections", "handshakes", "Handshakes answered 503"),
    _limit("MPCHAT_LIMITS.max_connections_per_address", "handshakes", "Handshakes answered 503"),
    _limit("MPCHAT_LIMITS.max_messages_per_second", "handshakes", "Handshakes answered 503"),
    _limit("listener.max_connections_per_user", "handshakes", "Handshakes answered 503"),
    _limit("max_connections_per_user", "handshakes", "Handshakes answered 503"),
    _limit("max_requests_in_flight", "requests", "Handshakes answered 503, requests answered 429"),
    _limit("max_requests_per_second", "requests", "Handshakes answered 503, requests answered 429"),
    _limit(
        "congestion-control",
        "requests",
        "Handshakes and requests answered 429, or the status that is set for it",
    ),
    _limit(
        "congestion-control.pauses",
        "pauses",
        "Pauses in accepting, since a busy worker takes and refuses only so many",
    ),
    _limit("max_request_size", "requests", "Requests answered 413"),
    _limit(
        "request-bodies", "requests", "Requests answered 503: their worker held 16 MiB of bodies"
    ),
    _limit("handshake-timeout", "sockets", "Sockets whose request did not arrive in time"),
    _limit("body-timeout", "sockets", "Sockets on which a request's body stopped arriving"),
    _limit("max-remote-payload", "connections", "Connections ended with 1009"),
    _limit("max-messages-per-second", "connections", "Connections ended with 1008"),
    _limit("max-bytes-per-second", "connections", "Connections ended with 1008"),
    _limit("max-control-frames-per-second", "connections", "Connections ended with 1008"),
    _limit("message-timeout", "connections", "Connections ended with 1008"),
    _limit("idle-timeout", "connections", "Connections ended with 1001"),
    _limit("expires", "connections", "Connections ended with 4401, since their identity expired"),
    _limit("ping-timeout", "connections", "Connections ended with 1011"),
    _limit("write-timeout", "connections", "Connections cut off"),
    _limit("member-backlog", "connections", "Connections in rooms ended with 1013: too slow"),
    _limit("max-rooms", "requests", "Joins and publishes refused: too many rooms"),
    _limit("max-members", "joins", "Joins refused: too many members"),
    _limit("max-rooms-per-connection", "joins", "Joins refused"),
    _limit("publish-rate", "messages", "Messages refused"),
    _limit("descriptors", "pauses", "Pauses in accepting, for lack of descriptors or memory"),
)
"""Refusals and ends by a limit, under the name of its option. They are rare, so each is written to the
scoreboard at once and costs frequent events nothing."""

TRAFFIC = tuple(metric.name for metric in _TRAFFIC)
"""They change with every message."""
TOTALS = (*(metric.name for metric in _COUNTED if metric.kind == "counter"), *TRAFFIC)
GAUGES = tuple(metric.name for metric in _COUNTED if metric.kind == "gauge")
LIMITS = tuple(metric.name for metric in _LIMITED)
_BY_NAME = {metric.name: metric for metric in (*_COUNTED, *_TRAFFIC, *_LIMITED)}
COUNTED = tuple(_BY_NAME[name] for name in (*TOTALS, *GAUGES))
"""All but those of limits."""
TABLE = (*COUNTED, *(_BY_NAME[name] for name in LIMITS))
