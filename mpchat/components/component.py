"""A component, and the components of one worker, among which its constructor finds others.

Rules. Components are built on demand, started in that order, and stopped in reverse.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, TypeVarTuple

from pydantic import Field

from mpchat.components.background import Background
from mpchat.config.types import OptionsModel
from mpchat.dynamic_config.keys import Key
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.errors import MpchatError
from mpchat.ipc.messages import Report
from mpchat.ipc.pairing import BrokerPairs
from mpchat.metrics.area import Area
from mpchat.metrics.declaring import bind_metrics
from mpchat.scoreboard.locks import Locks
from mpchat.scoreboard.tickets import UsedTickets

START_LIMIT = 20.0
"""Seconds for the start of one component: fewer than for a worker's, so that the log can name it."""

O_co = TypeVar("O_co", bound=OptionsModel, covariant=True)
C = TypeVar("C", bound="Component")
Arguments = TypeVarTuple("Arguments")

log = logging.getLogger("mpchat.components")


class HasOptions(Protocol[O_co]):
    """Lets a type checker see ``self.options`` as an instance of the class's own Options."""

    _options: Any

    @property
    def Options(self) -> type[O_co]: ...  # noqa: N802 - the nested class of that name


class Component:
    """Base of components (userver's ComponentBase): derive, set ``name``, append the class to the list.

    Each worker builds one object of each class in the list that has a section in the static config.
    To add options, define a nested class ``Options`` derived from the base's ``Options``. Make a secret a
    ``SecretStr`` of pydantic: ``mpchat config show`` and tracebacks do not show its value.

    Attributes:
        name: The section in the static config. An object has the name under which its class is listed.
        dynamic_config_keys: The dynamic variables that this component reads. Every reload validates
            them; a variable that no component declares always has the default of its key.
        section_optional: True: without a section in the config, the component is left out silently.
        logger: The component's ``logging.Logger``, ``mpchat.components.NAME``.
    """

    name: str
    dynamic_config_keys: ClassVar[tuple[Key[Any], ...]] = ()
    section_optional: ClassVar[bool] = False
    needs_broker: ClassVar[bool] = False  # for our own component of rooms alone
    _logger_prefix: ClassVar[str] = "mpchat.components"

    class Options(OptionsModel):
        """Options that every component has."""

        load_enabled: Annotated[
            bool, Field(alias="load-enabled", description="False: the component is left out")
        ] = True

    def __init__(self, options: Any, components: Components) -> None:
        """Override to find other components; first call the base's constructor with both arguments.

        Runs on the worker's event loop, which it must not delay: slow work belongs in ``start``.
        """
        self.name = components.name_under_construction
        self.logger = logging.getLogger(logger_name(type(self), self.name))
        self._background = components.background_under_construction
        self._locks = components.host.locks
        self._options = options
        self._snapshot = components.snapshot
        bind_metrics(self, components.host.metrics)

    @property
    def options(self: HasOptions[O_co]) -> O_co:
        """The component's section, validated: an instance of its class's ``Options``."""
        options: O_co = self._options
        return options

    @property
    def config(self) -> Snapshot:
        """The current dynamic config: read it once per operation, and keep no value of it."""
        return self._snapshot()

    def spawn(
        self,
        function: Callable[[*Arguments], Coroutine[Any, Any, object]],
        *arguments: *Arguments,
        name: str | None = None,
        restart: bool = False,
        once_per_service: bool = False,
    ) -> asyncio.Task[None]:
        """Run a coroutine function in the background: ``self.spawn(self._refresh)``.

        An exception is logged at once, with its traceback and the task's name, by default the
        function's, and ends the task. With ``restart=True`` the function is called again after a second,
        doubled with each further failure up to 30 seconds. When the worker ends, the task is cancelled
        and awaited just before ``stop`` is called. Call ``spawn`` in ``start`` or later.

        With ``once_per_service=True`` the function runs in one worker of the service. The others wait;
        when that worker ends or is killed, another one calls the function within a second. It is never
        called while it still runs elsewhere, not even during a restart. Once it has returned or failed,
        no other worker calls it as long as this one lives. Its name is that of the task within the
        component, the same in all workers.

        Raises:
            TypeError: ``function`` is not callable, for example the coroutine that a function returned.
            RuntimeError: The component has been stopped.
            ValueError: The component has a task of this name that runs once in the service.
        """
        if inspect.iscoroutine(function):
            # Otherwise Python's warning about an unawaited coroutine would hide the error below.
            function.close()
        if not callable(function):
            text = "spawn takes a coroutine function and its arguments: self.spawn(self.run, 1)"
            raise TypeError(f"{text}, not self.spawn(self.run(1))")
        run = functools.partial(function, *arguments)
        title = name or str(getattr(function, "__name__", type(function).__name__))
        lock = self._locks.make(f"{self.name}/{title}") if once_per_service else None
        return self._background.spawn(run, title, self.logger, restart, lock)

    @classmethod
    def check_files(cls, options: Any) -> None:
        """Override to read the files that options name, so that ``mpchat check`` finds their mistakes.

        Called with an instance of the class's ``Options`` by ``mpchat check``, and before a start, a
        restart and a reload, which a mistake prevents.

        Raises:
            ValueError, OSError: What is wrong, and in which file; the component's name comes before it.
        """

    async def start(self) -> None:
        """Override to connect to something or to begin background tasks (``spawn``).

        Called in the order of construction, so components that this one has found are already started.
        An exception, or more than 20 seconds, ends the worker; the log names the component.
        """

    async def stop(self) -> None:
        """Override to undo ``start``.

        Called in reverse order, when all connections of the worker and the component's background tasks
        have ended. An exception is logged, and the other components are still stopped. One second after
        the drain's deadline the worker is killed, even if a ``stop`` still runs.
        """

    def on_config_update(self) -> None:
        """Override to follow a reload, also by reading files of your own again: ``self.config`` is new.

        Called in every worker, not at the start. It must not block for long. An exception is logged.
        """

    def on_all_components_loaded(self) -> None:
        """Override for work that needs every component started; the first client comes afterwards."""

    def on_all_components_are_stopping(self) -> None:
        """Override to stop using other components: they are stopped one by one afterwards."""


def logger_name(cls: type[Component], name: str) -> str:
    """Return the name of the logger of a component of this class and name."""
    return f"{cls._logger_prefix}.{name}"


class Planned(Protocol):
    """A component that the template has validated."""

    @property
    def name(self) -> str: ...
    @property
    def cls(self) -> type[Component]: ...
    @property
    def options(self) -> Any: ...


class ComponentError(MpchatError):
    """A component is missing, depends on itself, or failed to start; the text names it."""


class Host(Protocol):
    """What a worker's process does for its components."""

    @property
    def slot(self) -> int:
        """See Components.slot."""

    @property
    def locks(self) -> Locks:
        """What this worker may have for itself."""

    async def reload(self) -> int:
        """Reload the dynamic config; see Components.reload_dynamic_config."""

    wall_clock: Callable[[], float]
    """Returns seconds since 1970"""
    clock: Callable[[], float]
    """Returns seconds that nobody sets, the same in all workers"""
    pairs: BrokerPairs
    """How a component gets at the broker of the service's rooms"""
    used_tickets: UsedTickets
    """Those that some worker of the host has accepted"""
    metrics: Area
    """What this worker has counted of the metrics that components declare"""

    def has_lost_stream(self) -> bool:
        """Return whether rooms that hosts share have no stream now."""

    async def report(self, report: Report) -> list[dict[str, Any]]:
        """Return a row for each connection in any worker that the report is about."""


class Components:
    """The components of one worker. A component's constructor gets this object to find others."""

    def __init__(
        self,
        plans: Sequence[Planned],
        snapshot: Callable[[], Snapshot],
        host: Host,
    ) -> None:
        self.snapshot = snapshot
        self.host = host
        self._plans = {plan.name: plan for plan in plans}
        self._built: dict[str, Component] = {}
        self._building: list[str] = []
        self._background: dict[str, Background] = {}

    @property
    def slot(self) -> int:
        """The number of this worker's slot, from 0 to one less than the number of workers.

        A worker that replaces another has the same number; during a restart both run for a while.
        """
        return self.host.slot

    @property
    def name_under_construction(self) -> str:
        """The listed name of the component under construction."""
        return self._building[-1]

    @property
    def background_under_construction(self) -> Background:
        """The background tasks of the component under construction."""
        return self._background.setdefault(self._building[-1], Background())

    def build(self) -> list[Component]:
        """Construct all, dependencies first."""
        for name in self._plans:
            self._get(name)
        return list(self._built.values())

    def find(self, cls: type[C], name: str | None = None) -> C:
        """Return the component of a class; construct it first if necessary.

        If several components of the list have this class or a derived one, ``name`` selects one, by
        default the first. Call ``find`` in constructors: starts and stops follow their order.

        Raises:
            ComponentError: The component is not in the list, has no section, or is itself under
                construction; the text names the chain.
        """
        names = [
            plan.name
            for plan in self._plans.values()
            if issubclass(plan.cls, cls) and name in {None, plan.name}
        ]
        if not names:
            asked = f" asked for by {self._building[-1]}" if self._building else ""
            section = name or getattr(cls, "name", "")
            hint = f": it needs the section {section} in the config" if section else ""
            text = f"no component {name or cls.__name__}{asked} is in the list{hint}"
            raise ComponentError(text)
        component = self._get(names[0])
        assert isinstance(component, cls)
        return component

    async def reload_dynamic_config(self) -> int:
        """Reload the dynamic config, as SIGHUP does, and return the number of the new generation.

        When this method returns, every worker uses that generation.

        Raises:
            ControlError: The config is bad (the old one stays), or a worker does not confirm it.
        """
        return await self.host.reload()

    async def start(self, limit: float = START_LIMIT) -> None:
        """Start all components, then call their ``on_all_components_loaded``.

        Raises:
            ComponentError: A component failed (its own exception is the cause), or took too long.
        """
        for name, component in self._built.items():
            try:
                async with asyncio.timeout(limit) as timeout:
                    await component.start()
            except Exception as error:
                if timeout.expired():
                    text = f"component {name} did not start within {limit:g} s"
                    raise ComponentError(text) from error
                raise ComponentError(f"component {name} failed to start: {error}") from error
        for component in self._built.values():
            component.on_all_components_loaded()

    def config_updated(self) -> None:
        """Call all ``on_config_update``; the log names a component that fails."""
        for name, component in self._built.items():
            try:
                component.on_config_update()
            except Exception:
                log.exception("component %s failed to follow the new dynamic config", name)

    async def stop(self) -> None:
        """Call all ``on_all_components_are_stopping``, then stop the components, both in reverse order.

        The background tasks of a component end before its ``stop``. The log names a component that
        fails; the others are still stopped.
        """
        components = list(reversed(self._built.items()))
        for name, component in components:
            try:
                component.on_all_components_are_stopping()
            except Exception:
                log.exception("component %s failed when all were about to stop", name)
        for name, component in components:
            if name in self._background:
                await self._background[name].stop()
            try:
                await component.stop()
            except Exception:
                log.exception("component %s failed to stop", name)

    def _get(self, name: str) -> Component:
        if name in self._built:
            return self._built[name]
        if name in self._building:
            chain = " -> ".join([*self._building[self._building.index(name) :], name])
            raise ComponentError(f"components depend on each other: {chain}")
        plan = self._plans[name]
        self._building.append(name)
        component = plan.cls(plan.options, self)
        self._building.pop()
        self._built[name] = component
        return component
