"""Every metric of a service: what docs/metrics.md lists and the collector fills.

Rules. A metric that userver has, has userver's name, labels and meaning; where that is a running total it
is a counter here. Ours begin with ``mpchat.``. A number of the scoreboard comes with its table's words;
one that is kept in milliseconds is published in seconds.
"""

from __future__ import annotations

from mpchat.console import updates
from mpchat.logs.writer import COUNTED_LEVELS
from mpchat.metrics.definition import Definition
from mpchat.scoreboard import broker, histograms
from mpchat.scoreboard.counters import COUNTED, Metric
from mpchat.scoreboard.histograms import MICROSECONDS, Distributed

PROCESS_LABEL = "process"
WORKER_LABEL = "worker"
MILLISECONDS = "milliseconds"
"""The unit of numbers that are published in seconds"""


def _counter(name: str, unit: str, text: str, *labels: str) -> Definition:
    return Definition(name, "counter", unit, text, labels)


def _gauge(name: str, unit: str, text: str, *labels: str) -> Definition:
    return Definition(name, "gauge", unit, text, labels)


def _of(metric: Metric, prefix: str, *labels: str) -> Definition:
    """Return the definition of a number of the scoreboard."""
    name, unit = metric.name.replace("_", "-"), metric.unit
    if unit == MILLISECONDS:
        name, unit = f"{name.removesuffix('-ms')}-seconds", "seconds"
    elif unit == "bytes":
        name = f"{name.removeprefix('bytes-')}-bytes"
    elif name.startswith("messages-"):
        name = f"{name.removeprefix('messages-')}-messages"
    return Definition(prefix + name, metric.kind, unit, metric.help, labels)


# The service

INFO = _gauge("mpchat.info", "services", "Always 1; the labels say what runs", "version")
UPTIME = _gauge("engine.uptime-seconds", "seconds", "Since the service was ready")
SILENCE = _gauge(
    "mpchat.supervisor.silent-seconds", "seconds", "Since the supervisor last checked its workers"
)
GENERATION = _gauge(
    "mpchat.dynamic-config.generation", "generations", "Number of the newest dynamic config"
)
PARSE_ERRORS = _counter(
    "dynamic-config.parse-errors",
    "configs",
    "Dynamic configs that were read or fetched and had mistakes",
)
PARSED = _gauge(
    "dynamic-config.was-last-parse-successful",
    "configs",
    "Whether the dynamic config that was read or fetched last had no mistakes: 1 or 0",
)
CERTIFICATES = _gauge(
    "mpchat.certificate.expiry-timestamp-seconds",
    "seconds",
    "When a listener's certificate expires, since 1970; it is called by its first name",
    "listener",
    "certificate",
)
RELOADS = _counter(
    "mpchat.reloads",
    "reloads",
    "Reloads of the dynamic config, by what came of them: applied by every worker, unconfirmed by "
    "some, or failed, and the old one stays",
    "result",
)
RESTARTS = _counter(
    "mpchat.restarts", "restarts", "Restarts that were asked for, by what came of them", "result"
)
CHILD_RESTARTS = _counter(
    "mpchat.process-restarts",
    "processes",
    "Processes started in place of one that had ended by itself, or of a worker in whatever way",
    PROCESS_LABEL,
)
FAULTS = _counter(
    "mpchat.supervisor.faults",
    "faults",
    "Steps of the supervisor's own loop that failed and were tried again",
)
LIMITS = _counter(
    "mpchat.limits",
    "clients",
    "Clients turned away and connections ended by a limit, by the option that sets it",
    "option",
)

# Clients

CONNECTIONS = _gauge("server.connections.active", "sockets", "Open sockets of clients")
OPENED = _counter("server.connections.opened", "sockets", "Sockets taken from clients")
CLOSED = _counter(
    "server.connections.closed",
    "sockets",
    "Sockets of clients that are closed, whoever closed them",
)
REQUESTS = _counter(
    "server.requests.processed", "requests", "Requests answered, handshakes and refusals included"
)
PARSING = _gauge("server.requests.parsing", "requests", "Requests of which a part has come")
ACTIVE = _gauge(
    "server.requests.active", "requests", "Requests and handshakes that a handler is answering"
)

PROXY_HEADERS = _counter(
    "mpchat.proxy-headers",
    "sockets",
    "PROXY headers of clients' sockets: taken, or refused and the socket closed",
    "result",
)

# Handlers: userver's labels are http_handler, http_path and version, which is 2

_HTTP = ("http_handler", "http_path", "version")
RPS = _counter("http.handler.rps", "requests", "Requests answered, handshakes included", *_HTTP)
CODES = _counter(
    "http.handler.reply-codes",
    "requests",
    "Requests answered, by the status code; 0 stands for codes that are not registered",
    *_HTTP,
    "http_code",
)
IN_FLIGHT = _gauge(
    "http.handler.in-flight", "requests", "Requests that an HTTP handler is answering", *_HTTP
)
TOO_MANY = _counter(
    "http.handler.too-many-requests-in-flight",
    "requests",
    "Requests and handshakes refused by max_requests_in_flight",
    *_HTTP,
)
RATE_REACHED = _counter(
    "http.handler.rate-limit-reached",
    "requests",
    "Requests and handshakes refused by max_requests_per_second or congestion control",
    *_HTTP,
)
TOTAL_RPS = _counter(
    "http.handler.total.rps",
    "requests",
    "Requests answered, whether or not by a handler",
    "version",
)
TOTAL_CODES = _counter(
    "http.handler.total.reply-codes",
    "requests",
    "Requests answered, by the status code, whether or not by a handler",
    "version",
    "http_code",
)
TOTAL_IN_FLIGHT = _gauge(
    "http.handler.total.in-flight",
    "requests",
    "Requests that HTTP handlers are answering",
    "version",
)
TOTAL_TOO_MANY = _counter(
    "http.handler.total.too-many-requests-in-flight",
    "requests",
    "Requests and handshakes refused by max_requests_in_flight",
    "version",
)
TOTAL_RATE_REACHED = _counter(
    "http.handler.total.rate-limit-reached",
    "requests",
    "Requests and handshakes refused by max_requests_per_second or congestion control",
    "version",
)

# Congestion control

CC_ENABLED = _gauge(
    "congestion-control.rps.is-enabled", "services", "Whether limits are enforced: 1 or 0"
)
CC_ACTIVATED = _gauge(
    "congestion-control.rps.is-activated",
    "services",
    "Whether a worker has a limit below USERVER_RPS_CCONTROL_ACTIVATED_FACTOR_METRIC times its load",
)
CC_LIMIT = _gauge(
    "congestion-control.rps.limit",
    "requests",
    "New requests per second that the workers with a limit take together; absent while none has one",
)
CC_STATE = _gauge(
    "congestion-control.rps.current-state",
    "states",
    "The highest state of a worker, by its place in the list of states, from 0",
)
CC_LAST_OVERLOAD = _gauge(
    "congestion-control.rps.time-from-last-overloaded-under-pressure-secs",
    "seconds",
    "Since a worker last was in that state, or since the service was ready",
)
CC_CUSTOM_STATUS = _gauge(
    "congestion-control.rps.is-custom-status-activated",
    "services",
    "Whether a worker refuses with the status of a new limit: 1 or 0",
)
CC_STATES = {
    f"congestion_{state.replace('-', '_')}": _counter(
        f"congestion-control.rps.states.{state}",
        "seconds",
        "Seconds of workers in this state",
    )
    for state in (
        "no-limit",
        "not-overloaded-no-pressure",
        "not-overloaded-under-pressure",
        "overloaded-no-pressure",
        "overloaded-under-pressure",
    )
}
"""By the name in the scoreboard"""
WORKER_LIMIT = _gauge(
    "mpchat.worker.congestion-limit",
    "requests",
    "New requests per second that the worker takes; absent while it has no limit",
    WORKER_LABEL,
)

# WebSockets: userver has the component's name in the metric's, where we have a label

_WS = ("component",)
SENT = _counter("ws.msg.sent", "messages", "Messages sent to clients", *_WS)
RECEIVED = _counter("ws.msg.recv", "messages", "Messages received from clients", *_WS)
BYTES_SENT = _counter("ws.bytes.sent", "bytes", "Payload bytes of the messages sent", *_WS)
BYTES_RECEIVED = _counter("ws.bytes.recv", "bytes", "Payload bytes of the messages received", *_WS)
WS_OPENED = _counter("ws.connections.opened", "connections", "WebSocket connections opened", *_WS)
WS_OPEN = _gauge(
    "ws.connections.active",
    "connections",
    "Open connections, and handshakes that were accepted and are not answered yet",
    *_WS,
)

# Distributions


def _of_distribution(one: Distributed) -> Definition:
    unit = "seconds" if one.unit == MICROSECONDS else one.unit
    return Definition(f"mpchat.{one.name}-{unit}", "histogram", unit, one.help)


DISTRIBUTIONS = {one.name: _of_distribution(one) for one in histograms.TABLE}
"""By the name in the scoreboard"""

TEMPLATE_FORK = _gauge(
    "mpchat.template.fork-seconds", "seconds", "What the last fork of a process took the template"
)

# The pool

TOGETHER = frozenset(
    (
        "left",
        "proxied",
        "parsing",
        "answering",
        *(f"log_lines_{level}" for level in COUNTED_LEVELS),
        *CC_STATES,
    )
)
"""Numbers of rows that are shown of all workers together, by other metrics"""
THREADS = _gauge(
    "engine.task-processors.worker-threads",
    "workers",
    "Workers that serve clients; userver counts threads",
    "task_processor",
)
WORKERS = _gauge("mpchat.workers", "workers", "Workers by their state", "state")
LAG = _gauge(
    "mpchat.worker.loop-lag-seconds",
    "seconds",
    "Longest delay of the worker's event loop within the last second",
    WORKER_LABEL,
)
WORKER_SILENCE = _gauge(
    "mpchat.worker.silent-seconds",
    "seconds",
    "Since the worker's loop last turned; beyond 0.5 it is busy, stuck or stopped",
    WORKER_LABEL,
)
WORKER_AGE = _gauge(
    "mpchat.worker.age-seconds", "seconds", "Since the worker was started", WORKER_LABEL
)
OF_WORKER = {
    metric.name: _of(metric, "mpchat.worker.", WORKER_LABEL)
    for metric in COUNTED
    if metric.name not in TOGETHER
}
"""By the name in the scoreboard"""

# Logs and processes

LOG_TOTAL = _counter("logger.total", "lines", "Lines that workers had for the log")
LOG_LEVELS = _counter("logger.by_level", "lines", "Lines that workers had for the log", "level")
LOG_DROPPED = _counter("logger.dropped", "lines", "Lines of workers that the log did not take")
CPU = _gauge(
    "cpu_time_sec", "seconds", "CPU time of the processes that live, user and system", PROCESS_LABEL
)
RSS = _gauge(
    "rss_kb",
    "kilobytes",
    "Resident memory, with pages that processes share counted in each",
    PROCESS_LABEL,
)
MAJOR_FAULTS = _gauge(
    "major_pagefaults", "pages", "Pages read from a disk for the processes that live", PROCESS_LABEL
)
READ_BYTES = _gauge(
    "io_read_bytes", "bytes", "Bytes read from disks by the processes that live", PROCESS_LABEL
)
WRITTEN_BYTES = _gauge(
    "io_write_bytes", "bytes", "Bytes written to disks by the processes that live", PROCESS_LABEL
)
OPEN_FILES = _gauge(
    "open_files", "descriptors", "Open descriptors of the processes that live", PROCESS_LABEL
)
MAX_FILES = _gauge(
    "mpchat.max-open-files",
    "descriptors",
    "Open descriptors that a process may have",
    PROCESS_LABEL,
)
MEMORY_LEFT = _gauge(
    "mpchat.memory-left-bytes",
    "bytes",
    "Memory that the service may still take, by its control groups and what the machine has",
)

# Rooms

BROKER_UP = _gauge("mpchat.broker.up", "processes", "Whether the broker serves: 1 or 0")
BROKER_SILENCE = _gauge(
    "mpchat.broker.silent-seconds", "seconds", "Since the broker's loop last turned"
)
STREAM_LOST = _gauge(
    "mpchat.broker.stream-silent-seconds",
    "seconds",
    "For how long the stream of NATS has not answered, 0 while it does",
)
OF_BROKER = {metric.name: _of(metric, "mpchat.broker.") for metric in broker.NUMBERS}
"""By the name in the scoreboard"""

CATALOGUE = (
    INFO,
    UPTIME,
    SILENCE,
    FAULTS,
    GENERATION,
    CERTIFICATES,
    PARSE_ERRORS,
    PARSED,
    *updates.DEFINITIONS,
    RELOADS,
    RESTARTS,
    CHILD_RESTARTS,
    LIMITS,
    TEMPLATE_FORK,
    CONNECTIONS,
    OPENED,
    CLOSED,
    REQUESTS,
    PARSING,
    ACTIVE,
    PROXY_HEADERS,
    RPS,
    CODES,
    IN_FLIGHT,
    TOO_MANY,
    RATE_REACHED,
    TOTAL_RPS,
    TOTAL_CODES,
    TOTAL_IN_FLIGHT,
    TOTAL_TOO_MANY,
    TOTAL_RATE_REACHED,
    CC_ENABLED,
    CC_ACTIVATED,
    CC_LIMIT,
    CC_STATE,
    CC_LAST_OVERLOAD,
    CC_CUSTOM_STATUS,
    *CC_STATES.values(),
    WORKER_LIMIT,
    SENT,
    RECEIVED,
    BYTES_SENT,
    BYTES_RECEIVED,
    WS_OPENED,
    WS_OPEN,
    *DISTRIBUTIONS.values(),
    THREADS,
    WORKERS,
    LAG,
    WORKER_SILENCE,
    WORKER_AGE,
    *OF_WORKER.values(),
    LOG_TOTAL,
    LOG_LEVELS,
    LOG_DROPPED,
    CPU,
    RSS,
    MAJOR_FAULTS,
    READ_BYTES,
    WRITTEN_BYTES,
    OPEN_FILES,
    MAX_FILES,
    MEMORY_LEFT,
    BROKER_UP,
    BROKER_SILENCE,
    STREAM_LOST,
    *OF_BROKER.values(),
)
"""All of them, in reading order"""
