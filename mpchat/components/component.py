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
    """Lets a type checker see ``self.options`` as an instance of the class's own Options."""

    _options: Any

    @property
    def Options(self) -> type[O_co]: ...  # noqa: N802 - the nested class of that name


class Component:
    """Base of components (userver's ComponentBase): derive, set ``name``, append the class to the list.

    Each worker builds one object of each class in the list that has a section in the static config.
    To add options, define a nested class ``Options`` derived from the base's ``Options``.

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
        """The current dynamic config: read it once per operation, and keep no value of it."""
        return self._snapshot()

    def spawn(
        self,
        function: Callable[[*Arguments], Coroutine[Any, Any, object]],
        *arguments: *Arguments,
        name: str | None = None,
        restart: bool = False,
    ) -> asyncio.Task[None]:
        """Run a coroutine function in the background: ``self.spawn(self._refresh)``.

        An exception is logged at once, with its traceback and the task's name, by default the
        function's, and ends the task. With ``restart=True`` the function is called again after a second,
        doubled with each further failure up to 30 seconds. When the worker ends, the task is cancelled
        and awaited just before ``stop`` is called. Call ``spawn`` in ``start`` or later.

        Raises:
            TypeError: ``function`` is not callable, for example the coroutine that a function returned.
            RuntimeError: The component has been stopped.
        """
        if inspect.iscoroutine(function):
            # Otherwise Python's warning about an unawaited coroutine would hide the error below.
            function.close()
        if not callable(function):
            text = "spawn takes a coroutine function and its arguments: self.spawn(self.run, 1)"
            raise TypeError(f"{text}, not self.spawn(self.run(1))")
        run = functools.partial(function, *arguments)
        title = name or str(getattr(function, "__name__", type(function).__name__))
        return self._background.spawn(run, title, self.logger, restart)

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

    def on_all_components_loaded(self) -> None:
        """Override for work that needs every component started; the first client comes afterwards."""

    def on_all_components_are_stopping(self) -> None:
        """Override to stop using other components: they are stopped one by one afterwards."""
