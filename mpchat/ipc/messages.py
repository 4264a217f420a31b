"""The messages on a channel, by sender and receiver.

    supervisor -> template   Start, ForkWorker, ForkMonitor, ForkBroker, ForkConsole, ReloadRequest,
                             ReopenLogs, Ping
    template -> supervisor   Plan, Failure, Forked, ForkFailed, Snapshot, ReloadFailed, Pong
    supervisor -> worker     Generation, Inboxes, Adopt, GiveBack, BrokerPair, ReopenLogs, LogLevel,
                             DebugLog, Report, ReportRequests, OrderDone, Retire, Stop
    supervisor -> monitor    Watch, Unwatch, Certificates, DynamicConfig, ReopenLogs, LogLevel, DebugLog,
                             OrderDone, Retire, Stop
    supervisor -> console    DynamicConfig, MetricsMemories, Event, ReopenLogs, LogLevel, DebugLog,
                             OrderDone, Stop
    supervisor -> broker     RoomsPair, WorkerGone, ReportRooms, ReopenLogs, LogLevel, DebugLog, Stop
    child -> supervisor      Hello, Ready, Failure, Applied, NotAdopted, PairLost, Retiring, Order

Each message is a frozen dataclass of JSON values. Descriptors travel with it, in the order that its
docstring gives. All messages pass through ``send`` and ``receive``. A received message has the types that
its class declares, and no more descriptors than it may have, whoever sent it.
"""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, TypeAlias, Union, get_args, get_origin, get_type_hints

from mpchat.ipc.channel import Channel, MalformedMessage
from mpchat.linux import descriptors as fds


@dataclass(frozen=True)
class Start:
    """Load the service, and answer Plan or Failure. Fails if ``layout`` is not this build's LAYOUT.

    Descriptors: none at first. For a template that replaces a dead one, a memfd with the static config
    files as the dead template read them, since only a restart changes the static config, and one with the
    certificates in force.
    """

    layout: int
    """See layout.LAYOUT"""
    follows: bool = False
    """Whether the descriptor is what the config service has said, for a template that a restart loads"""


@dataclass(frozen=True)
class Plan:
    """The part of the static config that the supervisor needs.

    Descriptors: the static config files as read; also a generation and the certificates of the listeners
    (see tls/material), unless Start came with the files.
    """

    pool: str
    workers: int
    listener: dict[str, Any]
    """address, port, unix_socket, unix_socket_permissions, backlog, and whether it speaks tls"""
    log_path: str
    log_format: str
    log_level: int
    path: str
    """The path that the ready line shows"""
    stop_limit: float
    """Seconds that a stop may take before workers are killed"""
    hang_timeout: float
    """Seconds that a worker's event loop may stand still"""
    max_lifetime: float | None
    """Seconds after which a worker is replaced; None: never"""
    version: str
    history: int | None = None
    """Bytes of the rooms' history, 0 for rooms without one; None: no rooms, so no broker"""
    control_socket: str | None = None
    """The option; None means the default path"""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    """Those that the components declare, as directory.parse takes them"""
    console: dict[str, Any] | None = None
    """Where the console listens, with the keys of ``listener``; None: it does not listen"""
    config_service: dict[str, Any] | None = None
    """``first_limit``, seconds that the first answer of the config service may take, and ``has_values``,
    whether the service can start without one; None: it follows no config service"""
    certificates: list[dict[str, Any]] = field(default_factory=list)
    """What operators may know of the certificates; see tls/shown"""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Failure:
    """The template, the monitor or the broker cannot run this service.

    ``text`` goes to stderr while the service starts, later into the log.
    """

    exit_code: int
    text: str


class WorkerDescriptors(NamedTuple):
    """The descriptors that come with ForkWorker."""

    channel: int
    scoreboard: int
    fault: int
    """A memfd for what the worker writes when it crashes"""
    generation: int
    """The memfd of the dynamic config that it starts with"""
    certificates: int
    """The memfd of the certificates of the same generation"""
    listening: int
    inbox: int
    metrics: int
    """The memory of the authors' metrics of its edition"""


@dataclass(frozen=True)
class ForkWorker:
    """Fork a worker. Descriptors: WorkerDescriptors."""

    slot: int
    row: int
    generation: int
    """Number of the dynamic config that it starts with"""
    log_levels: dict[str, str]
    """Levels that operators have ordered, by logger"""
    log_locations: dict[str, int]
    """Loggers that operators have forced on or off; see loglines/locations"""


class MonitorDescriptors(NamedTuple):
    """The descriptors that come with ForkMonitor."""

    channel: int
    scoreboard: int
    fault: int
    """A memfd for what the monitor writes when it crashes"""
    listening: int | None = None
    """The listening socket of its predecessor; not sent if there was none"""


@dataclass(frozen=True)
class ForkMonitor:
    """Fork a monitor. Descriptors: MonitorDescriptors."""

    supervisor: int
    """The supervisor's pid, which need not be its parent's yet"""
    address: str
    """The address for clients"""
    control_socket: str
    """The path to listen at for operators"""
    console_address: str
    """Where the console listens; empty if there is none"""
    socket_files: list[dict[str, Any]]
    """The SocketFiles to remove when the supervisor is gone"""
    log_levels: dict[str, str]
    """Levels that operators have ordered, by logger"""
    log_locations: dict[str, int]
    """Loggers that operators have forced on or off; see loglines/locations"""


class BrokerDescriptors(NamedTuple):
    """The descriptors that come with ForkBroker."""

    channel: int
    scoreboard: int
    fault: int
    """A memfd for what the broker writes when it crashes"""
    history: int | None = None
    """The memfd of the rooms' history, of the size that it keeps; not sent without history"""


@dataclass(frozen=True)
class ForkBroker:
    """Fork a broker. Descriptors: BrokerDescriptors."""

    number: int
    """Of this incarnation of the broker; never used twice in a service"""
    log_levels: dict[str, str]
    """Levels that operators have ordered, by logger"""
    log_locations: dict[str, int]
    """Loggers that operators have forced on or off; see loglines/locations"""


class ConsoleDescriptors(NamedTuple):
    """The descriptors that come with ForkConsole."""

    channel: int
    scoreboard: int
    fault: int
    """A memfd for what the console writes when it crashes"""
    certificates: int
    """The memfd of the certificates of the generation in force"""
    listening: int | None = None
    """Not sent to a console that does not listen"""


@dataclass(frozen=True)
class ForkConsole:
    """Fork a console. Descriptors: ConsoleDescriptors."""

    supervisor: int
    """The supervisor's pid, which need not be its parent's yet"""
    address: str
    """The address for clients"""
    console_address: str
    """Where it listens itself; empty if it does not"""
    generation: int
    """Number of the certificates that it starts with"""
    log_levels: dict[str, str]
    """Levels that operators have ordered, by logger"""
    log_locations: dict[str, int]
    """Loggers that operators have forced on or off; see loglines/locations"""


@dataclass(frozen=True)
class DynamicConfig:
    """The dynamic config in force; a monitor is told when it asks.

    Descriptors: its memfd; for a console also that of the certificates.
    """

    number: int
    since: float
    """When it was loaded, seconds since 1970"""
    failures: dict[str, Any]
    """Why the last reload, the last restart and the last update from the config service failed, if they
    did: ``text`` and ``at``, seconds since 1970, by ``reload``, ``restart`` and ``update``"""
    certificates: list[dict[str, Any]] = field(default_factory=list)
    """What operators may know of the certificates; see tls/shown"""


@dataclass(frozen=True)
class Certificates:
    """The certificates in force, for a monitor, which shows them without asking anybody."""

    shown: list[dict[str, Any]]
    """What operators may know of them; see tls/shown"""


@dataclass(frozen=True)
class MetricsMemories:
    """Read the authors' metrics in these memories only.

    Descriptors: the current edition's, then others.
    """


@dataclass(frozen=True)
class Event:
    """Something has happened in the service, as the supervisor's log has it."""

    at: float
    """Seconds since 1970"""
    level: str
    text: str


@dataclass(frozen=True)
class Forked:
    """The oldest request for a fork has been carried out; the child itself sends Hello."""


@dataclass(frozen=True)
class ForkFailed:
    """The system refused a process; the channel of the request closes by itself."""

    text: str


@dataclass(frozen=True)
class Ping:
    """Answer Pong, to show that you still answer."""


@dataclass(frozen=True)
class Pong:
    """The answer to the oldest Ping."""


@dataclass(frozen=True)
class ReloadRequest:
    """Read the dynamic config and the certificates again, and answer Snapshot or ReloadFailed.

    Descriptor, if ``follows``: a memfd with what the config service has said.
    """

    follows: bool = False


@dataclass(frozen=True)
class Snapshot:
    """A validated dynamic config. Descriptors: its memfd, and that of the listeners' certificates."""

    stop_limit: float
    certificates: list[dict[str, Any]] = field(default_factory=list)
    """What operators may know of the certificates; see tls/shown"""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ReloadFailed:
    """The mistakes, one per line."""

    text: str


@dataclass(frozen=True)
class Generation:
    """Use this dynamic config and these certificates, and answer Applied.

    Descriptors: the memfd of the one, and that of the others.
    """

    number: int


@dataclass(frozen=True)
class ReopenLogs:
    """Log files have been moved: open the files that are now at their paths.

    Descriptor, if somebody waits for that: a SOCK_SEQPACKET socket for ``report_reopened``.
    """


@dataclass(frozen=True)
class Retire:
    """Leave your work to your successor, and end.

    A worker takes no more connections, and closes its open ones (1012) over the drain's window. A monitor
    answers its current clients, and leaves the control socket's file alone.
    """


@dataclass(frozen=True)
class Stop:
    """End in an orderly way, or at once."""

    now: bool = False


@dataclass(frozen=True)
class Inboxes:
    """Inboxes for clients of other slots. Descriptors: the writing ends, from slot ``first`` on."""

    first: int


@dataclass(frozen=True)
class Adopt:
    """Also take clients from the queues of another slot. Descriptors: its listening socket, its inbox.

    If all slots share one listening socket, that descriptor is left out.
    """

    slot: int


@dataclass(frozen=True)
class GiveBack:
    """Stop taking clients from the queues of that slot; they belong to its own worker."""

    slot: int


@dataclass(frozen=True)
class NotAdopted:
    """The worker was out of descriptors and could not take that slot's socket."""

    slot: int


@dataclass(frozen=True)
class RoomsPair:
    """A pair to a worker, in place of any older one to it. Descriptor: the broker's end, a stream socket.

    A broker without a free descriptor gets none, and answers PairLost.
    """

    pair: int
    """Number of the pair; never used twice in a service"""
    incarnation: int
    """Number of the worker; never used twice in a service"""
    slot: int


@dataclass(frozen=True)
class BrokerPair:
    """A pair to the broker, in place of any older one. Descriptor: the worker's end, a stream socket.

    A worker without a free descriptor gets none, and answers PairLost.
    """

    pair: int
    """Number of the pair; never used twice in a service"""
    incarnation: int
    """Of the worker itself, for its first frame"""


@dataclass(frozen=True)
class PairLost:
    """That pair cannot be used, though both its processes live: send both another one."""

    pair: int


@dataclass(frozen=True)
class WorkerGone:
    """That worker has ended: its members are gone, whoever may still hold its pair."""

    incarnation: int


@dataclass(frozen=True)
class ReportRooms:
    """Send a list of rooms. Descriptor: a SOCK_SEQPACKET socket for JSON packets (see ``reports``)."""

    by: str
    """The order, largest first: by ``members`` or by ``messages_per_second``"""
    limit: int
    """The most rooms"""


@dataclass(frozen=True)
class Watch:
    """A process to kill if it outlives the supervisor. Descriptor: its pidfd."""

    pid: int


@dataclass(frozen=True)
class Unwatch:
    """That process has ended."""

    pid: int


@dataclass(frozen=True)
class Hello:
    """The first message of a child; no exit status can be read before it."""

    pid: int


@dataclass(frozen=True)
class Ready:
    """The child does its work. Descriptor, from a monitor: its listening socket."""


@dataclass(frozen=True)
class Applied:
    """The child uses this generation."""

    number: int


@dataclass(frozen=True)
class Retiring:
    """The worker was asked to end, by Retire or by SIGTERM, and takes no more connections."""


@dataclass(frozen=True)
class Order:
    """An order to the service: from an operator through the monitor, or from a test through a worker.

    OrderDone with the same number answers it: ``reload`` when every worker has applied the config;
    ``listeners`` with ``answer``, which Listeners.describe makes; ``reopen`` (descriptor: the socket for
    ReopenLogs) with ``answer``, the names of the processes that were told, by pid;
    ``connections`` (arguments: those of Report; descriptor: the socket that workers report on),
    ``requests`` (arguments: those of ReportRequests; descriptor: as for ``connections``),
    ``rooms`` (arguments: those of ReportRooms; descriptor: the socket that the broker reports on),
    ``log-level`` (arguments: those of LogLevel) and ``debug-log`` (arguments: those of DebugLog) when
    the order has gone to every process; ``dynamic-config`` when DynamicConfig has been sent;
    ``config-service`` (descriptor: a memfd, see dynamic_config/layer) when what the config service says
    is in force, or is not; ``config-service-failed`` (argument: text) and ``config-service-confirmed``
    at once; ``scale`` (argument: count) when ``count`` workers are ready; ``restart`` (argument: slot,
    or None for all) when new workers have replaced the old ones.
    """

    number: int
    verb: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OrderDone:
    """The order was carried out or, with an error, was not; ``error`` has one reason per line."""

    number: int
    generation: int
    error: str = ""
    answer: dict[str, Any] = field(default_factory=dict)
    """What was asked for, if the order is a question"""


@dataclass(frozen=True)
class LogLevel:
    """Give a logger another level until the next order; None means its own level again."""

    logger: str
    level: str | None
    """A name of userver's levels"""
    number: int | None
    """The same level as a number of ``logging``, for the supervisor, which does not know the names"""


@dataclass(frozen=True)
class DebugLog:
    """Force the lines of a logger, and of all loggers below it, on or off until the next order."""

    location: str
    """The logger's name; empty for all loggers"""
    state: int
    """One of loglines.locations.STATES"""


@dataclass(frozen=True)
class Report:
    """Send the list of your connections. Descriptor: a SOCK_SEQPACKET socket for JSON packets."""

    user: str | None = None
    """Only those of this user"""
    tag: str | None = None
    """Only those whose user has this tag"""
    code: int | None = None
    """Close them with this code"""
    reason: str = ""
    pid: int | None = None
    """Only those of this worker: the others are not asked"""
    by: str = "age_seconds"
    """The order, largest first: a name of ``reports.CONNECTION_NUMBERS``"""
    limit: int | None = None
    """The most connections of each worker"""


@dataclass(frozen=True)
class ReportRequests:
    """Send a list of the requests that are being answered; see server/inspection for its rows.

    Descriptor: as for Report.
    """

    open: bool
    """Those of the open WebSocket connections instead"""
    body: bool
    """With the bodies"""


Message: TypeAlias = (
    Start
    | Plan
    | Failure
    | ForkWorker
    | ForkMonitor
    | ForkBroker
    | ForkConsole
    | DynamicConfig
    | Certificates
    | MetricsMemories
    | Event
    | Forked
    | ForkFailed
    | Ping
    | Pong
    | ReloadRequest
    | Snapshot
    | ReloadFailed
    | Generation
    | LogLevel
    | DebugLog
    | Inboxes
    | Adopt
    | GiveBack
    | NotAdopted
    | RoomsPair
    | BrokerPair
    | PairLost
    | WorkerGone
    | ReportRooms
    | ReopenLogs
    | Retire
    | Stop
    | Watch
    | Unwatch
    | Hello
    | Ready
    | Applied
    | Retiring
    | Order
    | OrderDone
    | Report
    | ReportRequests
)

_KINDS: dict[str, type[Message]] = {cls.__name__: cls for cls in get_args(Message)}
_FIELDS = {cls: get_type_hints(cls) for cls in get_args(Message)}
_FROM_CHILDREN = {Plan: 3, Snapshot: 2, Ready: 1, Order: 1}
"""Descriptors that a child may send with these messages; with all others, none."""
_INTEGERS = range(-(2**63), 2**63)

FROM_TEMPLATE = (Plan, Failure, Forked, ForkFailed, Snapshot, ReloadFailed, Pong)
FROM_MONITOR = (Hello, Ready, Failure, Order)
FROM_CONSOLE = (Hello, Ready, Failure, Order)
FROM_BROKER = (Hello, Ready, Failure, PairLost)
FROM_WORKER = (Hello, Ready, Applied, NotAdopted, PairLost, Retiring, Order)


def send(channel: Channel, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send a message; Channel.send describes waiting and errors."""
    channel.send(type(message).__name__, asdict(message), descriptors)


def receive(channel: Channel) -> tuple[Message, list[int]] | None:
    """Return the next message with its descriptors, or None if none has arrived.

    Raises:
        MalformedMessage: The message does not have the form of its class.
        ChannelClosed, OSError: See Channel.receive.
    """
    received = channel.receive()
    if received is None:
        return None
    kind, body, descriptors = received
    try:
        return parse(kind, body), descriptors
    except MalformedMessage:
        fds.close_all(descriptors)
        raise


def receive_from(
    channel: Channel, allowed: tuple[type[Message], ...]
) -> tuple[Message, list[int]] | None:
    """Return the next message of a child that may send only the ``allowed`` ones; see ``receive``."""
    received = receive(channel)
    if received is None:
        return None
    message, descriptors = received
    name = type(message).__name__
    problem = ""
    if not isinstance(message, allowed):
        problem = f"it may not send {name}"
    elif len(descriptors) > _FROM_CHILDREN.get(type(message), 0):
        problem = f"{name} came with {len(descriptors)} descriptors"
    if problem:
        fds.close_all(descriptors)
        raise MalformedMessage(problem)
    return received


def parse(kind: str, body: dict[str, Any]) -> Message:
    """Return the message of this class with these values.

    Raises:
        MalformedMessage: There is no such class, or it does not take these values.
    """
    cls = _KINDS.get(kind)
    if cls is None:
        raise MalformedMessage(f"no message is called {kind[:100]!r}")
    hints = _FIELDS[cls]
    for name, value in body.items():
        if name not in hints:
            raise MalformedMessage(f"{kind} has no {name[:100]!r}")
        if not _is_of(value, hints[name]):
            raise MalformedMessage(f"{kind}.{name} is {repr(value)[:100]}")
    try:
        return cls(**body)
    except TypeError as error:
        raise MalformedMessage(f"{kind} is incomplete: {error}") from error


def _is_of(value: object, hint: Any) -> bool:
    """Return whether a JSON value has the type of a message's field."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in {types.UnionType, Union}:
        return any(_is_of(value, one) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(_is_of(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is_of(item, inner[1]) for item in value.values())
    if hint is Any:
        return True
    if hint is int:
        return type(value) is int and value in _INTEGERS
    if hint is float:
        return type(value) in {int, float} and math.isfinite(value)  # type: ignore[arg-type]
    return isinstance(value, hint)
