"""A component: a named object with a section in the static config, living in every worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, TypeVar

from pydantic import Field

from mpchat.config.types import OptionsModel
from mpchat.dynamic_config.keys import Key
from mpchat.dynamic_config.snapshot import Snapshot

if TYPE_CHECKING:
    from mpchat.components.running import Components

O_co = TypeVar("O_co", bound=OptionsModel, covariant=True)


class HasOptions(Protocol[O_co]):
    """What a type checker needs to know ``self.options`` as an instance of the class's own Options."""

    _options: Any

    @property
    def Options(self) -> type[O_co]: ...  # noqa: N802 - the nested class of that name


class Component:
    """Base of components (userver's ComponentBase).

    Derive and set ``name``, by which its section is found. For options of its own a class has a class
    ``Options`` derived from its base's ``Options``.
    """

    name: str
    dynamic_config_keys: ClassVar[tuple[Key[Any], ...]] = ()
    section_optional: ClassVar[bool] = False
    """True: nothing is said where the config has no section for it, and it is left out."""

    class Options(OptionsModel):
        """Options that every component has."""

        load_enabled: Annotated[
            bool, Field(alias="load-enabled", description="False: the component is left out")
        ] = True

    def __init__(self, options: Any, components: Components) -> None:
        """Override to find other components; blocking work belongs into ``start``."""
        self.name = components.name_under_construction
        self._options = options
        self._snapshot = components.snapshot

    @property
    def options(self: HasOptions[O_co]) -> O_co:
        """The component's section, validated: an instance of its class's ``Options``."""
        options: O_co = self._options
        return options

    @property
    def config(self) -> Snapshot:
        """The dynamic config as it is now; read once per operation."""
        return self._snapshot()

    async def start(self) -> None:
        """Override to connect or to start background tasks; the order is that of construction."""

    async def stop(self) -> None:
        """Override to end what ``start`` began; the order is the reverse."""

    def on_all_components_loaded(self) -> None:
        """Override for work that needs every component started, just before clients come."""

    def on_all_components_are_stopping(self) -> None:
        """Override to stop using other components: they end soon."""
