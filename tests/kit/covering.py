"""Which options a test proves the effect of, and whether it has set them.

``@pytest.mark.covers("ServerOptions.body-timeout")`` stands at a test that sets the option and sees what
it does. An option is named by its model; a dynamic variable has its own name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from mpchat.auth.bearer import BearerAuth
from mpchat.auth.cookie import CookieAuth
from mpchat.auth.jwt import JwtAuth
from mpchat.auth.ticket import TicketAuth
from mpchat.config.types import OptionsModel
from mpchat.config_service.options import ClientOptions, UpdaterOptions
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.handlers.lists import default_component_list
from mpchat.jetstream.options import JetStreamOptions
from mpchat.rooms.handler import RoomHandler
from mpchat.template.loading import SECTIONS

WITHOUT_EFFECT = frozenset(
    f"WaitQueueOverload.{name}" for name in ("time_limit_us", "length_limit", "action")
)
"""Fields of userver's that stand beside one that mpchat follows."""
_HANDLERS = "components.*"
PLACES = {
    "ManagerOptions": "",
    "TaskProcessorOptions": "task_processors.*",
    "ServerOptions": "components.server",
    "ListenerOptions": "components.server.listener",
    "PortOptions": "components.server.listener",
    "MonitorListenerOptions": "components.server.listener-monitor",
    "ConsoleHandlerOptions": _HANDLERS,
    "ServerMonitorOptions": "components.handler-server-monitor",
    "ConnectionOptions": "components.server.listener.connection",
    "TlsOptions": "components.server.*.tls",
    "CertificateOptions": "components.server.*.tls",
    "HandlerDefaults": "components.server.listener.handler-defaults",
    "LoggingOptions": "components.logging",
    "LoggerOptions": "components.logging.loggers.*",
    "DynamicConfigOptions": "components.dynamic-config",
    "DynamicConfigFallbacksOptions": "components.dynamic-config-fallbacks",
    "ClientOptions": "components.dynamic-config-client",
    "UpdaterOptions": "components.dynamic-config-client-updater",
    "CongestionControlOptions": "components.congestion-control",
    "SecdistOptions": "components.secdist",
    "SecdistProviderOptions": "components.default-secdist-provider",
    "Component": _HANDLERS,
    "HandlerBase": _HANDLERS,
    "AuthOptions": "components.*.auth",
    "BearerAuth": _HANDLERS,
    "CookieAuth": _HANDLERS,
    "JwtAuth": _HANDLERS,
    "TicketAuth": _HANDLERS,
    "WebsocketOptions": _HANDLERS,
    "RoomsOptions": "components.rooms",
    "JetStreamOptions": "components.rooms.nats",
    "Ping": "components.handler-ping",
    "RoomHandler": _HANDLERS,
    "DeflateOptions": "components.*.permessage-deflate",
    "NoLogSpans": "USERVER_NO_LOG_SPANS",
    "DynamicDebug": "USERVER_LOG_DYNAMIC_DEBUG",
    "Limits": "MPCHAT_LIMITS",
    "Keepalive": "MPCHAT_KEEPALIVE",
    "GracefulShutdownHeaders": "GRACEFUL_SHUTDOWN_HEADERS",
    "Drain": "MPCHAT_DRAIN",
    "RpsCongestionControl": "USERVER_RPS_CCONTROL",
    "CustomStatus": "USERVER_RPS_CCONTROL_CUSTOM_STATUS",
    "TaskProcessorQos": "USERVER_TASK_PROCESSOR_QOS",
    "TaskProcessorLimits": "USERVER_TASK_PROCESSOR_QOS.default-service.*",
    "WaitQueueOverload": "USERVER_TASK_PROCESSOR_QOS.default-service.*.wait_queue_overload",
    "ProfilerDebug": "USERVER_TASK_PROCESSOR_PROFILER_DEBUG.*",
}
"""Where a model's options stand: in components_manager, or in the dynamic config."""


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for cls in base.__subclasses__():
        yield cls
        yield from _models(cls)


def _own_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the options that a model adds to those of its bases."""
    inherited = {
        name
        for base in model.__bases__
        if issubclass(base, BaseModel)
        for name in base.model_fields
    }
    return {
        field.alias or name: field
        for name, field in model.model_fields.items()
        if name not in inherited
    }


def options() -> dict[str, FieldInfo]:
    """Return every option, by the name that a test covers it with."""
    # Their models are part of what is imported here.
    assert SECTIONS
    assert default_component_list()
    assert {BearerAuth, CookieAuth, JwtAuth, TicketAuth, RoomHandler, JetStreamOptions}
    assert {ClientOptions, UpdaterOptions}
    return {
        f"{label}.{name}": field
        for model in _models(OptionsModel)
        if model.__module__.startswith("mpchat.")
        for label in [model.__qualname__.removesuffix(".Options")]
        for name, field in _own_fields(model).items()
        if f"{label}.{name}" not in WITHOUT_EFFECT
    }


def variables() -> dict[str, Any]:
    """Return the defaults of all dynamic variables."""
    return {key.name: key.default for key in BUILT_IN_KEYS}


def is_set(name: str, configs: list[Any]) -> bool:
    """Whether one of these configs has another value for this option than its default."""
    label, _, option = name.partition(".")
    if not option:
        default = variables()[name]
        return any(name in config and config[name] != default for config in configs)
    field = options()[name]
    return any(
        _differs(field, value)
        for config in configs
        for section in _find(config, [part for part in PLACES[label].split(".") if part])
        if isinstance(section, dict)
        for key, value in section.items()
        # As well as option#env and option#file.
        if key.partition("#")[0] == option
    )


def _differs(field: FieldInfo, value: Any) -> bool:
    if field.is_required():
        return True
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
        return bool(adapter.validate_python(value) != field.get_default(call_default_factory=True))
    except ValidationError:
        # userver's options, which only a whole config may have, or a mistake: no default, either way.
        return True


def _find(config: Any, place: list[str]) -> Iterator[Any]:
    if not place:
        yield config
    elif isinstance(config, dict):
        first, *rest = place
        for name, value in config.items():
            if first in {"*", name}:
                yield from _find(value, rest)
