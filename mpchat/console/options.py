"""The sections of the console's handlers, userver's and ours.

Rules. This file needs none of the console's libraries, so that every config can be checked. A handler is
off unless it has a section.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from mpchat.components.handler_base import HandlerPath, methods_of
from mpchat.config.types import OptionsModel
from mpchat.config_service.options import ConfigServicePlan
from mpchat.server.options import ConsolePool, MonitorListenerOptions

PAGE, LIVE, LOGIN = "/", "/live", "/login"
"""Paths of the page: its file, its WebSocket, and where it sends the token that somebody has typed"""
LIBRARIES = ("aiohttp", "prometheus_client")
"""What the extra installs"""
INSTALL = "pip install 'mpchat[monitor]'"


def _check_side(value: bool) -> bool:
    if not value:
        text = "expected true: mpchat serves this handler where listener-monitor listens"
        raise PydanticCustomError("side", text)
    return value


def _check_own(path: str) -> str:
    if (path.rstrip("/") or PAGE) in {PAGE, LIVE, LOGIN}:
        text = f"expected another path than those of the live page: {PAGE}, {LIVE}, {LOGIN}"
        raise PydanticCustomError("path", text)
    return path


class ConsoleHandlerOptions(OptionsModel):
    """The options that all of the console's handlers have."""

    load_enabled: Annotated[
        bool, Field(alias="load-enabled", description="false: as if the section were not there")
    ] = True
    methods: ClassVar[tuple[str, ...]]
    """Those that the handler has"""
    path: Annotated[HandlerPath, AfterValidator(_check_own)]
    method: Annotated[
        str | None,
        Field(description="Allowed methods, comma separated; by default all that the handler has"),
    ] = None
    task_processor: ConsolePool = None
    monitor_handler: Annotated[
        Annotated[bool, AfterValidator(_check_side)],
        Field(
            alias="monitor-handler",
            description="Whether listener-monitor serves it: always true",
        ),
    ] = True

    @field_validator("method")
    @classmethod
    def _check_methods(cls, method: str | None) -> str | None:
        for name in methods_of(method) if method is not None else ():
            if name not in cls.methods:
                text = f"expected methods of {', '.join(cls.methods)}"
                raise PydanticCustomError("method", text)
        return method

    def allowed_methods(self) -> list[str]:
        """Return the methods that clients may use."""
        return methods_of(self.method) if self.method is not None else list(self.methods)


class ServerMonitorOptions(ConsoleHandlerOptions):
    """Shows all metrics on GET, in userver's formats."""

    methods = ("GET",)
    format: Annotated[
        Literal["prometheus", "json"] | None,
        Field(
            description="Format of an answer to a request without `format`; by default such a request "
            "is refused with 400"
        ),
    ] = None
    common_labels: Annotated[
        dict[str, str],
        Field(alias="common-labels", description="Labels that every value has beside its own"),
    ] = Field(default_factory=dict)


class MetricsOptions(ConsoleHandlerOptions):
    """Shows all metrics on GET, for Prometheus."""

    methods = ("GET",)


class LogLevelOptions(ConsoleHandlerOptions):
    """Shows a logger's level on GET, changes it on PUT, in every process."""

    methods = ("GET", "PUT")

    @field_validator("path")
    @classmethod
    def _check_level(cls, path: str) -> str:
        if "{level}" not in path:
            raise PydanticCustomError("path", "expected a path with {level}")
        return path


class DynamicDebugLogOptions(ConsoleHandlerOptions):
    """Shows on GET which loggers are forced on or off, changes that on PUT and DELETE."""

    methods = ("GET", "PUT", "DELETE")


class InspectRequestsOptions(ConsoleHandlerOptions):
    """Shows on GET the requests that are being answered, then open connections."""

    methods = ("GET",)


class DynamicConfigHandlerOptions(ConsoleHandlerOptions):
    """Shows on GET the dynamic config in force, and where each value comes from."""

    methods = ("GET",)


class LogRotateOptions(ConsoleHandlerOptions):
    """Opens all log files again on POST, as after a rotation."""

    methods = ("POST",)


SECTIONS: Mapping[str, type[ConsoleHandlerOptions]] = {
    "handler-server-monitor": ServerMonitorOptions,
    "handler-metrics": MetricsOptions,
    "handler-log-level": LogLevelOptions,
    "handler-dynamic-debug-log": DynamicDebugLogOptions,
    "handler-inspect-requests": InspectRequestsOptions,
    "handler-on-log-rotate": LogRotateOptions,
    "handler-dynamic-config": DynamicConfigHandlerOptions,
}
OURS = frozenset({"handler-metrics", "handler-dynamic-config"})
"""The sections that userver does not have"""


@dataclass(frozen=True)
class ConsolePlan:
    """The console of a service whose config has a section for it."""

    listener: MonitorListenerOptions | None
    """None: nobody can ask it"""
    handlers: Mapping[str, ConsoleHandlerOptions]
    """By section, those that are on"""
    config_service: ConfigServicePlan | None
    """The config service that it asks for the dynamic config"""


def missing_libraries() -> tuple[str, ...]:
    """Return the libraries of the console that are not installed."""
    return tuple(name for name in LIBRARIES if find_spec(name) is None)


def own_options(listener: MonitorListenerOptions, sections: Mapping[str, object]) -> list[str]:
    """Return what of these sections userver does not have: whoever sets that wants our console."""
    found = [name for name in ("token", "hosts") if name in listener.model_fields_set]
    return [*(f"server.listener-monitor.{name}" for name in found), *sorted(OURS & sections.keys())]
