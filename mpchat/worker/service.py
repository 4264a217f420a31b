"""The service that every worker runs: validated static config and its code, fixed before the fork."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mpchat.components.component import Component
from mpchat.components.handler_base import HandlerBase
from mpchat.config.secdist import SecdistProviderOptions
from mpchat.config.settings import Setting
from mpchat.config.yaml_file import Document
from mpchat.config_service.options import ConfigServicePlan
from mpchat.console.options import ConsolePlan
from mpchat.dynamic_config.keys import Key
from mpchat.logs.options import LoggingOptions
from mpchat.metrics.declaring import declarations_of
from mpchat.metrics.directory import Entry, entry_of
from mpchat.server.options import ServerOptions
from mpchat.server.overload import CongestionPlan
from mpchat.websocket.handler import WebsocketHandlerBase


@dataclass(frozen=True)
class ComponentPlan:
    """One component to build in every worker."""

    name: str
    cls: type[Component]
    options: Any


@dataclass(frozen=True)
class Service:
    """The parts of a service that no worker changes."""

    pool: str
    workers: int
    threads: int
    """Threads of the executor for blocking calls"""
    server: ServerOptions
    logging: LoggingOptions
    components: tuple[ComponentPlan, ...]
    keys: tuple[Key[Any], ...]
    dynamic_layers: tuple[Document, ...]
    """Dynamic config inside the static config"""
    dynamic_files: tuple[str, ...]
    drain_defaults: dict[str, int]
    """Defaults of MPCHAT_DRAIN's fields from the static config"""
    drain_origin: str
    """What operators are told of where these come from"""
    known_variables: frozenset[str]
    warnings: tuple[str, ...]
    settings: tuple[Setting, ...] = field(compare=False)
    """Every option of the static config, for operators"""
    console: ConsolePlan | None = None
    """None: there is no console"""
    console_missing: str = ""
    """Why sections of the console are left out"""
    congestion: CongestionPlan | None = None
    """None: no worker limits what it takes"""
    secdist: SecdistProviderOptions | None = None
    """Where passphrases of private keys are; None: no certificate names one"""

    @property
    def config_service(self) -> ConfigServicePlan | None:
        """The config service that the dynamic config follows."""
        return self.console.config_service if self.console is not None else None

    def rooms(self) -> ComponentPlan | None:
        """Return the component whose rooms a broker orders, None if the service needs no broker."""
        return next((plan for plan in self.components if plan.cls.needs_broker), None)

    def metrics(self) -> tuple[Entry, ...]:
        """Return the metrics that the components declare, each once."""
        declared = (
            declaration
            for plan in self.components
            for declaration in declarations_of(plan.cls).values()
        )
        return tuple(entry_of(declaration.given) for declaration in dict.fromkeys(declared))

    def path_to_show(self) -> str:
        """Return the path for the ready line: that of a WebSocket handler, if any."""
        handlers = [plan for plan in self.components if issubclass(plan.cls, HandlerBase)]
        handlers.sort(key=lambda plan: not issubclass(plan.cls, WebsocketHandlerBase))
        return str(handlers[0].options.path) if handlers else "/"
