"""A component: a named object with a section in the static config, living in every worker."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, TypeVar, TypeVarTuple

from pydantic import Field

from mpchat.config.types import OptionsModel
from mpchat.dynamic_config.keys import Key
from mpchat.dynamic_config.snapshot import Snapshot

if TYPE_CHECKING:
    from mpchat.components.running import Components

O_co = TypeVar("O_co", bound=OptionsModel, covariant=True)
Arguments = TypeVarTuple("Arguments")


class HasOptions(Protocol[O_co]):
    """What a type checker needs to know ``self.options`` as an instance of the class's own Options."""

    _options: Any

    @property
    def Options(self) -> type[O_co]: ...  # noqa: N802 - the nested class of that name


class Component:
    """Base of components (userver's ComponentBase): derive, set ``name``, append the class to the list.

    Each worker builds one object of each class in the list that has a section in the static config.
    For options of its own a class has a class ``Options`` derived from its base's ``Options``.

    Attributes:
        name: The section in the static config. An object has the name that its class is listed under.
        dynamic_config_keys: Dynamic variables that it reads. Declared here they are validated with
            every reload; a variable that nobody declares is the default of its key.
        section_optional: True: it is left out without a word where the config has no section for it.
        logger: A ``logging.Logger`` of the component's own, ``mpchat.components.NAME``.
    """

    name: str
    dynamic_config_keys: ClassVar[tuple[Key[Any], ...]] = ()
    section_optional: ClassVar[bool] = False
    _logger_prefix: ClassVar[str] = "mpchat.components"

    class Options(OptionsModel):
        """Options that every component has."""

        load_enabled: Annotated[
            bool, Field(alias="load-enabled", description="False: the component is left out")
        ] = True

    def __init__(self, options: Any, components: Components) -> None:
        """Override to find the components that this one needs; call the base's with both arguments first.

        Runs on the worker's event loop, which must not be held up: what takes time belongs into
        ``start``.
        """
        self.name = components.name_under_construction
        self.logger = logging.getLogger(f"{self._logger_prefix}.{self.name}")
        self._background = components.background_under_construction
        self._options = options
        self._snapshot = components.snapshot

    @property
    def options(self: HasOptions[O_co]) -> O_co:
        """The component's section, validated: an instance of its class's ``Options``."""
        options: O_co = self._options
        return options

    @property
    def config(self) -> Snapshot:
        """The dynamic config as it is now: read it once per operation, keep nothing of it."""
        return self._snapshot()

    def spawn(
        self,
        function: Callable[[*Arguments], Coroutine[Any, Any, object]],
        *arguments: *Arguments,
        name: str | None = None,
        restart: bool = False,
    ) -> asyncio.Task[None]:
        """Run a coroutine function in the background: ``self.spawn(self._refresh)``.

        An exception is logged at once, with its traceback and the task's name, which is by default the
        function's. The task is over then; with ``restart=True`` the function is called again, after a
        second, and after twice the time with each further failure, up to 30 seconds. When the worker
        ends the task is cancelled and awaited, just before ``stop`` is called. Use it in ``start`` or
        later.

        Raises:
            TypeError: ``function`` is something else, for example the coroutine that it returns.
            RuntimeError: The component has been stopped.
        """
        if inspect.iscoroutine(function):
            # Or Python would warn that nobody has awaited it, and hide what is wrong.
            function.close()
        if not callable(function):
            text = "spawn takes a coroutine function and its arguments: self.spawn(self.run, 1)"
            raise TypeError(f"{text}, not self.spawn(self.run(1))")
        run = functools.partial(function, *arguments)
        title = name or str(getattr(function, "__name__", type(function).__name__))
        return self._background.spawn(run, title, self.logger, restart)

    async def start(self) -> None:
        """Override to connect to something or to begin background tasks (``spawn``).

        Called in the order of construction, so what this component has found is started already. An
        exception, or more than 20 seconds, ends the worker with the component's name in the log.
        """

    async def stop(self) -> None:
        """Override to end what ``start`` began.

        Called in reverse order, when all connections of the worker and the component's background tasks
        have ended. An exception is logged and keeps nobody else from being stopped. What takes longer
        than the drain's deadline and a second is killed with the worker.
        """

    def on_all_components_loaded(self) -> None:
        """Override for what needs every component started; the first client comes after it."""

    def on_all_components_are_stopping(self) -> None:
        """Override to stop using other components: after it they are stopped one by one."""
