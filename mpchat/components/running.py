"""The components of one worker: built on demand, started in that order, stopped in reverse."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from mpchat.components.background import Background
from mpchat.components.component import Component
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.errors import MpchatError

START_LIMIT = 20.0
"""Seconds for the start of one component: fewer than for a worker's, so that the log can name it."""

C = TypeVar("C", bound=Component)

log = logging.getLogger("mpchat.components")


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


class Components:
    """The components of one worker. A component's constructor gets this object to find others."""

    def __init__(
        self,
        plans: Sequence[Planned],
        snapshot: Callable[[], Snapshot],
        reload: Callable[[], Awaitable[int]],
    ) -> None:
        self.snapshot = snapshot
        self._plans = {plan.name: plan for plan in plans}
        self._reload = reload
        self._built: dict[str, Component] = {}
        self._building: list[str] = []
        self._background: dict[str, Background] = {}

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
            raise ComponentError(f"no component {name or cls.__name__}{asked} is in the list")
        component = self._get(names[0])
        assert isinstance(component, cls)
        return component

    async def reload_dynamic_config(self) -> int:
        """Reload the dynamic config, as SIGHUP does, and return the number of the new generation.

        When this method returns, every worker uses that generation.

        Raises:
            ControlError: The config is bad (the old one stays), or a worker does not confirm it.
        """
        return await self._reload()

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
