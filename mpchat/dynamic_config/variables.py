"""The dynamic variables that the service itself reads: userver's that apply here, and ours.

Rules. userver's variables have userver's defaults. A variable that is validated here has an effect;
userver's other variables are kept unchecked for handlers.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from mpchat.config.types import MAX_INT, Count, OptionsModel
from mpchat.dynamic_config.keys import Key
from mpchat.http.grammar import TOKEN
from mpchat.logs.levels import LEVELS, forced_levels

Milliseconds = Annotated[int, Field(ge=0, le=3_600_000)]
_FIELD_VALUE = re.compile(r"[\t -~]*")
_CODES = frozenset(int(status) for status in HTTPStatus)
_OF_THE_CONNECTION = frozenset(
    {"connection", "content-length", "date", "transfer-encoding", "upgrade"}
)
"""Headers that only the server may set."""


def _check_level(level: str) -> str:
    if level.lower() not in LEVELS:
        expected = ", ".join(LEVELS)
        raise PydanticCustomError("level", "expected one of {expected}", {"expected": expected})
    return level


LevelName = Annotated[str, AfterValidator(_check_level)]


class NoLogSpans(OptionsModel):
    """Lines that are left out, by the name of their span (``http/handler-ping``)."""

    names: Annotated[tuple[str, ...], Field(description="Whole names")] = ()
    prefixes: Annotated[tuple[str, ...], Field(description="Beginnings of names")] = ()


class DynamicDebug(OptionsModel):
    """Levels of loggers by name."""

    force_enabled: Annotated[
        tuple[str, ...],
        Field(alias="force-enabled", description="Lines of every level are written"),
    ] = ()
    force_disabled: Annotated[
        tuple[str, ...],
        Field(alias="force-disabled", description="Only warnings and errors are written"),
    ] = ()
    force_enabled_level: Annotated[
        dict[str, LevelName],
        Field(alias="force-enabled-level", description="This level and higher are written"),
    ] = Field(default_factory=dict)
    force_disabled_level: Annotated[
        dict[str, LevelName],
        Field(alias="force-disabled-level", description="This level and lower are left out"),
    ] = Field(default_factory=dict)

    def levels(self) -> dict[str, int]:
        """Return the level of each logger that is named."""
        return forced_levels(
            self.force_enabled,
            self.force_disabled,
            self.force_enabled_level,
            self.force_disabled_level,
        )


class Keepalive(OptionsModel):
    """Pings to clients (milliseconds); null means the handler's option, 0 turns pings off."""

    interval_ms: Annotated[
        Milliseconds | None, Field(description="Time from an answer to the next ping")
    ] = None
    timeout_ms: Annotated[
        Milliseconds | None, Field(description="Time for the answer; then close code 1011")
    ] = None


class Limits(OptionsModel):
    """Limits of the whole service; null means none. Handshakes over a limit get 503."""

    max_connections: Annotated[Count | None, Field(description="Open WebSocket connections")] = None
    max_connections_per_address: Annotated[
        Count | None,
        Field(
            description="Open WebSocket connections of one client address; with IPv6, of one network "
            "(listener.ipv6_prefix)"
        ),
    ] = None
    max_messages_per_second: Annotated[
        Count | None,
        Field(description="Messages received per second; beyond it, no new connections"),
    ] = None


class Drain(OptionsModel):
    """How the service stops (milliseconds)."""

    lameduck_ms: Annotated[
        Milliseconds,
        Field(
            description="Time in which clients are still accepted, but handshakes and pings get 503"
        ),
    ] = 0
    window_ms: Annotated[
        Milliseconds,
        Field(
            description="Time over which the closes are spread, at most four fifths of the deadline"
        ),
    ] = 5_000
    deadline_ms: Annotated[
        Milliseconds, Field(description="Time after which open connections are cut off")
    ] = 10_000


def _check_status(code: int) -> int:
    if code not in _CODES:
        raise PydanticCustomError("status", "expected a registered status code")
    return code


def _check_headers(headers: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for name, values in headers.items():
        if not TOKEN.fullmatch(name) or name.lower() in _OF_THE_CONNECTION:
            raise PydanticCustomError("header", "expected names of headers that a config may add")
        if not all(_FIELD_VALUE.fullmatch(value) for value in values):
            text = "expected values without control characters, in ASCII"
            raise PydanticCustomError("header", text)
    return headers


class GracefulShutdownHeaders(OptionsModel):
    """userver's headers of every answer while the service stops."""

    enabled: Annotated[bool, Field(description="Whether these headers are added")]
    headers: Annotated[
        dict[str, tuple[str, ...]],
        AfterValidator(_check_headers),
        Field(description="Values by name; several values are joined by commas"),
    ]


class RpsCongestionControl(OptionsModel):
    """userver's congestion control: how the limit of new requests follows the load.

    Needs the section `congestion-control`. What an object leaves out has the defaults of this table.
    """

    min_limit: Annotated[
        int,
        Field(
            alias="min-limit",
            ge=1,
            le=MAX_INT,
            description="Lowest limit of the service, requests per second",
        ),
    ] = 2
    up_rate_percent: Annotated[
        float,
        Field(
            alias="up-rate-percent",
            gt=0,
            le=100,
            description="By how much, at most, the limit rises in a quiet second",
        ),
    ] = 2
    down_rate_percent: Annotated[
        float,
        Field(
            alias="down-rate-percent",
            gt=0,
            le=100,
            description="By how much the limit falls in a second of overload under pressure",
        ),
    ] = 5
    overload_on_seconds: Annotated[
        int,
        Field(
            alias="overload-on-seconds",
            ge=1,
            le=MAX_INT,
            description="Seconds of pressure in a row after which the next one is an overload",
        ),
    ] = 10
    overload_off_seconds: Annotated[
        int,
        Field(
            alias="overload-off-seconds",
            ge=1,
            le=MAX_INT,
            description="Quiet seconds in a row after which the next one ends the overload",
        ),
    ] = 3
    up_level: Annotated[
        int,
        Field(
            alias="up-level",
            ge=1,
            le=MAX_INT,
            description="More signs of overload in a second than this are pressure",
        ),
    ] = 3
    down_level: Annotated[
        int,
        Field(
            alias="down-level",
            ge=1,
            le=MAX_INT,
            description="The same during an overload",
        ),
    ] = 3
    load_limit_percent: Annotated[
        int,
        Field(
            alias="load-limit-percent",
            ge=0,
            le=100,
            description="Smallest share of looks that have to be signs of overload, for pressure",
        ),
    ] = 0
    load_limit_crit_percent: Annotated[
        int,
        Field(
            alias="load-limit-crit-percent",
            ge=0,
            le=101,
            description="Share of signs from which pressure is an overload at once; 101: never",
        ),
    ] = 0
    no_limit_seconds: Annotated[
        int,
        Field(
            alias="no-limit-seconds",
            ge=1,
            le=MAX_INT,
            description="Quiet seconds in a row after which the limit is dropped",
        ),
    ] = 1000
    start_limit_factor: Annotated[
        float,
        Field(
            alias="start-limit-factor",
            ge=0,
            le=1_000,
            description="First limit, as a fraction of the load at that time",
        ),
    ] = 0.75


class CustomStatus(OptionsModel):
    """The status of the first refusals of userver's congestion control."""

    initial_status_code: Annotated[
        int,
        Field(
            alias="initial-status-code",
            ge=300,
            le=599,
            description="Status of refusals while a limit is new; then `status-code` of the section "
            "`congestion-control`",
        ),
        AfterValidator(_check_status),
    ] = 429
    max_time_ms: Annotated[
        Count, Field(alias="max-time-ms", description="For how long a limit is new, milliseconds")
    ] = 10_000


class WaitQueueOverload(OptionsModel):
    """Limits of what waits, of which only `sensor_time_limit_us` has an effect here."""

    time_limit_us: Annotated[Count, Field(description="userver's, without effect: longest wait")]
    length_limit: Annotated[
        Count, Field(description="userver's, without effect: most that may wait")
    ]
    action: Annotated[
        Literal["ignore", "cancel"],
        Field(
            description="userver's, for who waits too long: nobody is cancelled here, and `cancel` "
            "brings a warning"
        ),
    ]
    sensor_time_limit_us: Annotated[
        Count,
        Field(
            description="Lag of a worker's loop that is a sign of overload, microseconds; 0: none is"
        ),
    ] = 3000


class TaskProcessorLimits(OptionsModel):
    """Limits of one pool of workers."""

    wait_queue_overload: Annotated[WaitQueueOverload, Field(description="Its line")]


DEFAULT_TASK_PROCESSOR = "default-task-processor"


def _check_default(pools: dict[str, TaskProcessorLimits]) -> dict[str, TaskProcessorLimits]:
    if DEFAULT_TASK_PROCESSOR not in pools:
        text = f"expected {DEFAULT_TASK_PROCESSOR}, for pools without limits of their own"
        raise PydanticCustomError("pools", text)
    return pools


class TaskProcessorQos(OptionsModel):
    """userver's limits of task queues: here the lag of a worker's loop that is a sign of overload."""

    default_service: Annotated[
        dict[str, TaskProcessorLimits],
        AfterValidator(_check_default),
        Field(
            alias="default-service",
            description=f"By the name of a pool; `{DEFAULT_TASK_PROCESSOR}` stands for all others",
        ),
    ]

    def of(self, pool: str) -> WaitQueueOverload:
        """Return the limits of a pool."""
        pools = self.default_service
        return (pools.get(pool) or pools[DEFAULT_TASK_PROCESSOR]).wait_queue_overload


class ProfilerDebug(OptionsModel):
    """userver's profiler: names the code that holds a worker's event loop.

    By task processor: the one that the workers are threads of, else ``default-task-processor``.
    """

    enabled: Annotated[bool, Field(description="Whether the profiler runs")]
    execution_slice_threshold_us: Annotated[
        int,
        Field(
            alias="execution-slice-threshold-us",
            ge=1,
            le=MAX_INT,
            description="Time for which a callback or a step of a coroutine may hold the event loop; "
            "beyond it, a line names its component and its calls",
        ),
    ]
    profiler_force_stacktrace: Annotated[
        bool,
        Field(
            alias="profiler-force-stacktrace",
            description="Whether the line has the stack with its source lines, too",
        ),
    ] = False


LOG_REQUEST = Key("USERVER_LOG_REQUEST", bool, default=True)
LOG_REQUEST_HEADERS = Key("USERVER_LOG_REQUEST_HEADERS", bool, default=False)
LOG_REQUEST_HEADERS_WHITELIST: Key[tuple[str, ...]] = Key(
    "USERVER_LOG_REQUEST_HEADERS_WHITELIST", tuple[str, ...], default=()
)
NO_LOG_SPANS = Key("USERVER_NO_LOG_SPANS", NoLogSpans, default=NoLogSpans())
LOG_DYNAMIC_DEBUG = Key("USERVER_LOG_DYNAMIC_DEBUG", DynamicDebug, default=DynamicDebug())
KEEPALIVE = Key("MPCHAT_KEEPALIVE", Keepalive, default=Keepalive())
LIMITS = Key("MPCHAT_LIMITS", Limits, default=Limits())
DRAIN = Key("MPCHAT_DRAIN", Drain, default=Drain())
GRACEFUL_SHUTDOWN_HEADERS = Key(
    "GRACEFUL_SHUTDOWN_HEADERS",
    GracefulShutdownHeaders,
    default=GracefulShutdownHeaders(
        enabled=True, headers={"x-envoy-immediate-health-check-fail": ("true",)}
    ),
)
RPS_CCONTROL = Key(
    "USERVER_RPS_CCONTROL",
    RpsCongestionControl,
    default=RpsCongestionControl.model_validate(
        {
            "min-limit": 10,
            "down-rate-percent": 2.0,
            "overload-on-seconds": 3,
            "up-level": 2,
            "down-level": 1,
        }
    ),
)
RPS_CCONTROL_ENABLED = Key("USERVER_RPS_CCONTROL_ENABLED", bool, default=False)
RPS_CCONTROL_FACTOR: Key[int] = Key(
    "USERVER_RPS_CCONTROL_ACTIVATED_FACTOR_METRIC",
    Annotated[int, Field(ge=1, le=MAX_INT)],
    default=5,
)
RPS_CCONTROL_STATUS = Key(
    "USERVER_RPS_CCONTROL_CUSTOM_STATUS", CustomStatus, default=CustomStatus()
)
_QUEUE = WaitQueueOverload(time_limit_us=3000, length_limit=5000, action="ignore")
TASK_PROCESSOR_QOS = Key(
    "USERVER_TASK_PROCESSOR_QOS",
    TaskProcessorQos,
    default=TaskProcessorQos.model_validate(
        {"default-service": {"default-task-processor": {"wait_queue_overload": _QUEUE}}}
    ),
)
PROFILER_DEBUG: Key[dict[str, ProfilerDebug]] = Key(
    "USERVER_TASK_PROCESSOR_PROFILER_DEBUG",
    dict[str, ProfilerDebug],
    default={
        name: ProfilerDebug.model_validate(
            {"enabled": False, "execution-slice-threshold-us": threshold}
        )
        for name, threshold in (("main-task-processor", 2000), ("fs-task-processor", 1_000_000))
    },
)

BUILT_IN_KEYS: tuple[Key[Any], ...] = (
    LOG_REQUEST,
    LOG_REQUEST_HEADERS,
    LOG_REQUEST_HEADERS_WHITELIST,
    NO_LOG_SPANS,
    LOG_DYNAMIC_DEBUG,
    KEEPALIVE,
    LIMITS,
    DRAIN,
    GRACEFUL_SHUTDOWN_HEADERS,
    RPS_CCONTROL,
    RPS_CCONTROL_ENABLED,
    RPS_CCONTROL_FACTOR,
    RPS_CCONTROL_STATUS,
    TASK_PROCESSOR_QOS,
    PROFILER_DEBUG,
)
